"""The one door to head models: whose a file or folder is, its files, its hash, and its data in our terms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sheap.head.array_files import array_names
from sheap.head.data import OPEN_HEAD_PATH, HeadData, HeadSource, read_head, stored_source
from sheap.head.flame import FlameFiles, read_flame
from sheap.head.flame_folder import files_below, find_flame
from sheap.head.gnm import MARKS as GNM_MARKS
from sheap.head.gnm import read_gnm
from sheap.head.ict import NEUTRAL, ict_files
from sheap.head.ict_head import read_ict_head
from sheap.reading.regular_file import read_bytes, require_regular

OPEN_HEAD, OWN, FLAME, GNM, ICT = (
    "the open head that ships with the package", "a head model of ours", "FLAME", "GNM Head", "ICT Face Model Light",
)  # fmt: skip
LICENCES = {
    OPEN_HEAD: "Apache-2.0 (see NOTICE)", OWN: "not stated", GNM: "Apache-2.0", ICT: "MIT",
    FLAME: "FLAME's own (https://flame.is.tue.mpg.de/modellicense.html): may not be passed on",
}  # fmt: skip
FLAME_OPEN_LICENCE = "CC-BY-4.0 (FLAME 2023 Open)"
EXPECTED = (
    "expected FLAME (its model file, or a folder with generic_model.pkl or flame2023.pkl), GNM's gnm_head.npz, "
    "ICT-FaceKit's FaceXModel folder, or a .safetensors file of ours"
)


@dataclass(frozen=True)
class Recognised:
    """What a path is: kind and licence in words, the files that are read, and how."""

    kind: str
    licence: str
    files: tuple[Path, ...]
    read: Callable[[], HeadData]


def recognise(path: Path) -> Recognised:
    """Raises FileNotFoundError when nothing is there, ValueError naming the path when it is no head model."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: head model not found")
    return _recognise_folder(path) if path.is_dir() else _recognise_file(path)


def _recognise_folder(path: Path) -> Recognised:
    for folder in (path, path / "FaceXModel"):
        if (folder / f"{NEUTRAL}.obj").is_file() or (folder.name == "FaceXModel" and folder.is_dir()):
            return Recognised(ICT, LICENCES[ICT], tuple(ict_files(folder).values()), lambda: read_ict_head(path))
    gnm = next((file for file in files_below(path) if file.name.lower() == "gnm_head.npz"), None)
    flame = find_flame(path)
    if gnm is not None and flame is not None:
        raise ValueError(f"{path}: holds GNM Head ({gnm.name}) and FLAME ({flame.model.name}); name the one that is meant")
    if gnm is not None:
        return _gnm(gnm)
    if flame is None:
        raise ValueError(f"{path}: no head model in this folder; {EXPECTED}")
    return _flame(flame)


def _recognise_file(path: Path) -> Recognised:
    ending = path.suffix.lower()
    if ending == ".safetensors":
        shipped = path.resolve() == OPEN_HEAD_PATH.resolve()
        source = stored_source(path)
        kind = OPEN_HEAD if shipped else OWN if source is None else source.kind
        licence = LICENCES[kind] if source is None else source.licence
        return Recognised(kind, licence, (path,), lambda: read_head(path))
    if ending == ".npz":
        require_regular(path)
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"  # what is broken otherwise is told by its reader
        names = array_names(path) if is_zip else set()
        if names & GNM_MARKS:
            return _gnm(path)
        if "mean_cm" in names or "identity_cm" in names:
            return Recognised(ICT, LICENCES[ICT], (path,), lambda: read_ict_head(path))
    if ending not in (".npz", ".pkl", ".pt", ".pth", ".npy", ".gz"):
        raise ValueError(f"{path}: unknown kind of head model; {EXPECTED}")
    flame = find_flame(path)
    assert flame is not None, "a named file is the model"
    return _flame(flame)


def _gnm(path: Path) -> Recognised:
    return Recognised(GNM, LICENCES[GNM], (path,), lambda: read_gnm(path))


def _flame(files: FlameFiles) -> Recognised:
    licence = FLAME_OPEN_LICENCE if "open" in files.model.stem.lower() else LICENCES[FLAME]
    return Recognised(FLAME, licence, tuple(files.paths()), lambda: read_flame(files))


def read_head_model(path: Path) -> HeadData:
    """The data of whatever head model is there. Raises as `recognise` does, and ValueError naming file and array."""
    found = recognise(path)
    data = found.read()
    if data.source is not None:
        return data
    return replace(data, source=HeadSource(found.kind, found.licence, path.name, _sha256(found)))


def head_sha256(path: Path | None) -> str:
    """Names a head model (None: the shipped one) by the bytes of its files. A file converted from another names that other."""
    return _sha256(recognise(OPEN_HEAD_PATH if path is None else path))


def _sha256(found: Recognised) -> str:
    if len(found.files) == 1:
        (path,) = found.files
        source = stored_source(path) if path.suffix.lower() == ".safetensors" else None
        return hashlib.sha256(read_bytes(path)).hexdigest() if source is None else source.sha256
    digests = sorted((path.name, hashlib.sha256(read_bytes(path)).hexdigest()) for path in found.files)
    return hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in digests).encode()).hexdigest()
