"""AffectNet's two folder layouts (Mollahosseini et al. 2017): pictures of faces with an emotion, valence and arousal.

As distributed first, with tables:
    ROOT/training.csv, ROOT/validation.csv              subDirectory_filePath, face_x, face_y, face_width, face_height,
                                                        facial_landmarks, expression, valence, arousal
    ROOT/Manually_Annotated_Images/SUBDIR/NAME.jpg      (or ROOT/SUBDIR/NAME.jpg)
As distributed later, one small array a picture and value:
    ROOT/train_set/images/ID.jpg, ROOT/val_set/images/ID.jpg
    ROOT/train_set/annotations/ID_exp.npy, ID_val.npy, ID_aro.npy, ...
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sheap.evaluation.face_boxes import FaceBox
from sheap.reading.arrays import read_array
from sheap.reading.text import read_text

Split = Literal["train", "val"]

EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""By AffectNet's number. Its further numbers (none, uncertain, no face) carry no emotion and are left out."""

TABLES: dict[str, str] = {"train": "training.csv", "val": "validation.csv"}
FOLDERS: dict[str, str] = {"train": "train_set", "val": "val_set"}
_IMAGE_ROOTS = ("Manually_Annotated_Images", "")


@dataclass(frozen=True)
class EmotionPicture:
    """emotion: index into EMOTIONS. valence, arousal in -1..1. face: where the face is, None where not told."""

    path: Path
    emotion: int
    valence: float
    arousal: float
    face: FaceBox | None = None


def read_affectnet(root: Path, split: Split) -> list[EmotionPicture]:
    """The split's pictures with an emotion, in the order of the table or of the names.

    Raises FileNotFoundError when neither layout is there, ValueError naming file and line (or the array) for values out
    of range and for a split without pictures.
    """
    table, folder = root / TABLES[split], root / FOLDERS[split]
    if table.is_file():
        found = list(_from_table(root, table))
    elif (folder / "annotations").is_dir():
        found = list(_from_arrays(folder))
    else:
        raise FileNotFoundError(
            f"{root}: neither {table.name} nor {folder.name}/annotations; expected AffectNet's layout"
        )
    if not found:
        raise ValueError(f"{root}: no picture with an emotion in the '{split}' split")
    return found


def _from_table(root: Path, table: Path) -> Iterator[EmotionPicture]:
    for line, row in _rows(table):
        where = f"{table} line {line}"
        try:
            emotion = int(row["expression"])
            left, top, width, height, valence, arousal = (float(row[name]) for name in _NUMBERS)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {type(error).__name__}: {error}") from None
        if emotion < len(EMOTIONS):
            _check(emotion, valence, arousal, where)
            if not all(map(math.isfinite, (left, top, width, height))):
                raise ValueError(f"{where}: a face box of {left}, {top}, {width}, {height}")
            face = FaceBox(left, top, left + width, top + height) if width > 0 and height > 0 else None
            yield EmotionPicture(_picture(root, row["subDirectory_filePath"]), emotion, valence, arousal, face)


_NUMBERS = ("face_x", "face_y", "face_width", "face_height", "valence", "arousal")
_COLUMNS = ("subDirectory_filePath", "expression", *_NUMBERS)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with the line each ends on. Commas, semicolons or tabs: spreadsheets save what their country uses."""
    text = read_text(table)
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        lacking = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if lacking:
            found = ", ".join(reader.fieldnames or ())[:200]
            raise ValueError(f"{table} line 1: no column {', '.join(lacking)} (found: {found})")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{table} line {reader.line_num}: not a readable table ({error})") from None


def _from_arrays(folder: Path) -> Iterator[EmotionPicture]:
    for path in sorted((folder / "annotations").glob("*_exp.npy")):
        name = path.name.removesuffix("_exp.npy")
        emotion = _number(path)
        if emotion != int(emotion):
            raise ValueError(f"{path}: emotion {emotion}, not a whole number")
        emotion = int(emotion)
        if emotion < len(EMOTIONS):
            valence, arousal = (_number(path.with_name(f"{name}_{part}.npy")) for part in ("val", "aro"))
            _check(emotion, valence, arousal, str(path))
            yield EmotionPicture(folder / "images" / f"{name}.jpg", emotion, valence, arousal)


def _picture(root: Path, place: str) -> Path:
    for above in _IMAGE_ROOTS:
        path = root / above / place
        if path.is_file():
            return path
    raise FileNotFoundError(f"{root / _IMAGE_ROOTS[0] / place}: missing")


def _number(path: Path) -> float:
    """A single number, stored as one or as text."""
    try:
        number = float(read_array(path).item())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a number ({str(error).removeprefix(f'{path}: ')})") from None
    if not math.isfinite(number):
        raise ValueError(f"{path}: not a number ({number})")
    return number


def _check(emotion: int, valence: float, arousal: float, where: str) -> None:
    if emotion < 0 or not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise ValueError(f"{where}: emotion {emotion}, valence {valence}, arousal {arousal} out of range")
