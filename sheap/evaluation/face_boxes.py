"""NoW's detected faces: one pickled dict an image, read without letting the pickle run code."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sheap.files import write_array

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class FaceBox:
    """A face in px of its picture."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def size(self) -> float:
        """Mean of width and height."""
        return (self.right - self.left + self.bottom - self.top) / 2


class _NumbersOnly(pickle.Unpickler):
    """Builds dicts, numbers, strings and numpy arrays; refuses every other name before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_face_box(path: Path) -> FaceBox:
    """The box in a `detected_face` file: `np.save` of a dict with left, right, top and bottom (px).

    Python 2 pickles are read too. Raises OSError, or ValueError naming the file for anything else than such a box.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, dtype = header(file)
            if dtype.kind != "O":
                raise ValueError(f"it holds an array of {dtype}, not a dict")
            held = _NumbersOnly(io.BytesIO(file.read()), encoding="latin1").load()
        box = held.item()
        sides = {name: float(box[name]) for name in ("left", "top", "right", "bottom")}
    except OSError:
        raise
    except Exception as error:  # a broken pickle raises whatever its bytes lead to
        raise ValueError(f"{path}: not a detected face ({type(error).__name__}: {error})") from None
    is_finite = np.isfinite(list(sides.values())).all()
    if not is_finite or sides["right"] <= sides["left"] or sides["bottom"] <= sides["top"]:
        raise ValueError(f"{path}: not a detected face (box {sides})")
    return FaceBox(**sides)


def write_face_box(path: Path, box: FaceBox) -> None:
    """Writes the dict as the benchmark's own files hold it."""
    sides = {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
    write_array(path, np.array(sides, dtype=object), allow_pickle=True)
