"""What of a submission folder belongs to a benchmark's list: old is not new, part is not whole.

Meant for NoW's layout (FOLDER/STEM.obj or .ply with STEM.npy or .txt beside it). Where the folder has a manifest
(run_manifest), it also says which predictions are of an earlier run, were changed since, or are of another picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from sheap.results.names import printable
from sheap.results.run_manifest import RESULTS_NAME, Result, RunManifest, file_sha256

MESH_ENDINGS, LANDMARK_ENDINGS = (".obj", ".ply"), (".npy", ".txt")
RESULT_FOLDER = "results"
"""Where evaluations of the submission go by default: no part of it."""


class Listed(Protocol):
    """A picture of a benchmark's list."""

    @property
    def stem(self) -> PurePosixPath: ...


Image = TypeVar("Image", bound=Listed)


@dataclass(frozen=True)
class SubmissionState:
    """Of `expected` pictures those without a prediction, those whose prediction is not the last run's (with why), and files that
    belong to no picture of the list."""

    expected: int
    missing: tuple[str, ...]
    stale: dict[str, str]
    foreign: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not (self.missing or self.stale or self.foreign)

    def __str__(self) -> str:
        there = self.expected - len(self.missing)
        return (
            f"{there} of {self.expected} images have a prediction: {len(self.missing)} missing, {len(self.stale)} stale, "
            f"{len(self.foreign)} foreign"
        )

    def lines(self, most: int = 10) -> list[str]:
        """What is wrong, one line an image, at most so many of a kind."""
        told = [
            *_some("missing", list(self.missing), most),
            *_some("stale", [f"{image}: {reason}" for image, reason in self.stale.items()], most),
            *_some("foreign", [f"{name}: belongs to no image of the list" for name in self.foreign], most),
        ]
        return told

    def to_json(self) -> dict[str, object]:
        """For a results file."""
        return {"expected": self.expected, "missing": list(self.missing), "stale": self.stale, "foreign": list(self.foreign)}


def submission_state(
    folder: Path, images: Sequence[Image], all_images: Iterable[Image], picture_of: Callable[[Image], Path]
) -> SubmissionState:
    """Compares a folder with the images that are to be in it.

    all_images: the whole list, of which `images` may be a part; what belongs to any of it is not foreign. picture_of: an image's
    file. Raises ValueError for a broken manifest.
    """
    manifest = RunManifest.read(folder)
    listed = {} if manifest is None else manifest.by_file()
    missing, stale = [], {}
    for image in images:
        files = [_first(folder, image.stem, endings) for endings in (MESH_ENDINGS, LANDMARK_ENDINGS)]
        if None in files:
            missing.append(str(image))
            continue
        if manifest is not None:
            reasons = (_why_stale(folder, name, listed, image, picture_of) for name in files if name is not None)
            reason = next((reason for reason in reasons if reason is not None), None)
            if reason is not None:
                stale[str(image)] = reason
    known = {str(image.stem) for image in all_images}
    foreign = [
        name
        for name in _predictions_below(folder)
        if str(PurePosixPath(name).with_name(PurePosixPath(name).stem)) not in known
    ]
    return SubmissionState(len(images), tuple(missing), stale, tuple(sorted(printable(name) for name in foreign)))


def _first(folder: Path, stem: PurePosixPath, endings: tuple[str, ...]) -> str | None:
    names = (f"{stem}{ending}" for ending in endings)
    return next((name for name in names if (folder / name).is_file()), None)


def _why_stale(
    folder: Path, name: str, listed: Mapping[str, tuple[Result, bool]], image: Image, picture_of: Callable[[Image], Path]
) -> str | None:
    if name not in listed:
        return f"the last run did not make {name}"
    result, is_last = listed[name]
    if not is_last:
        return f"{name} is of an earlier run"
    sha256 = result.files[name]
    if sha256 is None:
        return f"the run that was to make {name} did not finish"
    if file_sha256(folder / name) != sha256:
        return f"{name} was changed since it was made"
    try:
        is_same = file_sha256(picture_of(image)) == result.input_sha256
    except FileNotFoundError:  # scans alone are enough to evaluate
        return None
    return None if is_same else "its picture is another than the one it was predicted from"


def _predictions_below(folder: Path) -> list[str]:
    endings = (*MESH_ENDINGS, *LANDMARK_ENDINGS)
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())
    return [path.as_posix() for path in found if path.parts[0] != RESULT_FOLDER and path.name != RESULTS_NAME]


def _some(kind: str, items: list[str], most: int) -> list[str]:
    more = [f"{kind}: and {len(items) - most} more"] if len(items) > most else []
    return [f"{kind}: {item}" for item in items[:most]] + more
