"""Predicted meshes by picture: held in memory, or in NoW's submission format on disk.

The format: FOLDER/SUBJECT/CHALLENGE/IMAGE.obj (or .ply) with IMAGE.npy (or .txt) beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.landmark_files import read_landmarks
from sheap.evaluation.mesh_files import TriangleMesh, find_file, read_mesh, write_obj
from sheap.evaluation.mesh_surface import surface_problems
from sheap.evaluation.now.crop import CANONICAL_LANDMARKS_MM, face_crop
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.metric import WARN_LANDMARK_RMS
from sheap.evaluation.similarity import procrustes
from sheap.files import write_array

EYE_WIDTH_RANGE_MM = (50.0, 150.0)
"""Outer eye corners of people are 80 to 110 mm apart; beyond this range the unit is wrong."""

LANDMARK_TO_SURFACE_MM = 10.0
"""Landmarks lie on the mesh; farther away they belong to another one."""


WRITTEN_TOGETHER = 16

Result = TypeVar("Result")


class ListedImage(Protocol):
    """A picture of a benchmark: where its prediction lies in a submission, without the ending."""

    @property
    def stem(self) -> PurePosixPath: ...


@dataclass(frozen=True)
class NowPrediction:
    """A mesh and its landmarks [7,3] in one unit and frame."""

    mesh: TriangleMesh
    landmarks: NDArray[np.floating]


class MissingPrediction(Exception):
    """There is no mesh or no landmarks for an image."""


class MeshesOfImages(Protocol):
    """Some pictures' predictions, to be handed to a worker process."""

    def key(self, image: ListedImage) -> Hashable:
        """Equal keys: the same prediction, which is measured once. Raises MissingPrediction."""

    def read(self, image: ListedImage) -> NowPrediction:
        """Raises MissingPrediction, or ValueError for one that cannot be used."""


class MeshSource(Protocol):
    """All predictions of a method for a benchmark: a SubmissionFolder, or made of parameters (evaluation.head_meshes)."""

    def of_images(self, images: Iterable[ListedImage]) -> MeshesOfImages: ...


@dataclass(frozen=True)
class HeldMeshes:
    """Predictions in memory; rows: which of `meshes` each picture has."""

    meshes: Mapping[int, NowPrediction]
    rows: Mapping[ListedImage, int]

    def key(self, image: ListedImage) -> int:
        if image not in self.rows:
            raise MissingPrediction(f"{image}: no face found, or the picture is unreadable: nothing predicted")
        return self.rows[image]

    def read(self, image: ListedImage) -> NowPrediction:
        return self.meshes[self.key(image)]


@dataclass(frozen=True)
class SubmissionFolder:
    """Predictions on disk, read when asked for."""

    folder: Path

    def of_images(self, images: Iterable[ListedImage]) -> SubmissionFolder:
        return self

    def key(self, image: ListedImage) -> ListedImage:
        return image

    def read(self, image: ListedImage) -> NowPrediction:
        return read_prediction(self.folder, image)

    def write(self, source: MeshSource, images: Iterable[ListedImage]) -> None:
        """Writes what `source` predicts for these pictures, a few meshes in memory at a time."""
        waiting = list(images)
        for start in range(0, len(waiting), WRITTEN_TOGETHER):
            batch = waiting[start : start + WRITTEN_TOGETHER]
            meshes = source.of_images(batch)
            for image in batch:
                found = meshes.read(image)
                write_prediction(self.folder, image, found.mesh, found.landmarks)


def measure_each(
    meshes: MeshesOfImages, images: Iterable[ListedImage], measure: Callable[[NowPrediction], Result]
) -> list[Result]:
    """`measure` of every picture's prediction; one that several pictures share is measured once. Raises as `read` does."""
    known: dict[Hashable, Result] = {}
    found = []
    for image in images:
        key = meshes.key(image)
        if key not in known:
            known[key] = measure(meshes.read(image))
        found.append(known[key])
    return found


def write_prediction(folder: Path, image: ListedImage, mesh: TriangleMesh, landmarks: NDArray[np.floating]) -> None:
    """Writes one prediction (mm): IMAGE.obj and IMAGE.npy."""
    stem = folder / image.stem
    write_obj(stem.with_name(stem.name + ".obj"), mesh)
    write_array(stem.with_name(stem.name + ".npy"), np.asarray(landmarks, dtype=np.float64))


def read_prediction(folder: Path, image: ListedImage) -> NowPrediction:
    """One prediction, found as the official tool finds it: .obj before .ply, .npy before .txt.

    Raises MissingPrediction, or ValueError naming the malformed file.
    """
    mesh_path = _first(folder, image, (".obj", ".ply"))
    landmarks_path = _first(folder, image, (".npy", ".txt"))
    try:
        return NowPrediction(read_mesh(mesh_path), read_landmarks(landmarks_path))
    except OSError as error:
        raise ValueError(f"{error.filename or mesh_path}: cannot be read ({error.strerror})") from None


@dataclass(frozen=True)
class SubmissionCheck:
    """problems by image; an empty mapping means that the submission is complete and sound."""

    num_images: int
    problems: Mapping[str, tuple[str, ...]]

    @property
    def is_good(self) -> bool:
        return not self.problems


def check_submission(folder: Path, dataset: NowDataset) -> SubmissionCheck:
    """Looks at every prediction the list asks for: present, readable, finite, in millimetres, landmarks on the mesh.

    The landmarks' order and handedness, and whether the mesh is a surface near the face, are checked too.
    It needs no scans, so it serves the test set as well.
    """
    problems: dict[str, tuple[str, ...]] = {}
    for image in dataset.images:
        try:
            found = prediction_problems(read_prediction(folder, image))
        except (MissingPrediction, ValueError) as error:
            found = (str(error),)
        if found:
            problems[str(image)] = found
    return SubmissionCheck(len(dataset.images), problems)


def prediction_problems(prediction: NowPrediction) -> tuple[str, ...]:
    """What is wrong with a readable prediction, in words."""
    landmarks = np.asarray(prediction.landmarks, dtype=np.float64)
    found = []
    eye_width = float(np.linalg.norm(landmarks[0] - landmarks[3]))
    if not EYE_WIDTH_RANGE_MM[0] <= eye_width <= EYE_WIDTH_RANGE_MM[1]:
        return (f"not in millimetres: the outer eye corners are {eye_width:.3g} apart",)
    fit = procrustes(CANONICAL_LANDMARKS_MM, landmarks)
    apart = fit.apply(landmarks) - CANONICAL_LANDMARKS_MM
    rms = float(np.sqrt((apart**2).sum(axis=1).mean()))
    if fit.is_reflection:
        found.append("the landmarks are mirrored: are left and right exchanged?")
    if rms > WARN_LANDMARK_RMS * face_crop(CANONICAL_LANDMARKS_MM).radius:
        found.append(f"the landmarks are not in NoW's order: {rms:.0f} mm (RMS) from a mean face's")
    off = TriangleTree(prediction.mesh.vertices, prediction.mesh.faces).query(landmarks).distances.max()
    if off > LANDMARK_TO_SURFACE_MM:
        found.append(f"a landmark is {off:.0f} mm away from the mesh")
    found += surface_problems(prediction.mesh.vertices, prediction.mesh.faces, landmarks)
    return tuple(found)


def _first(folder: Path, image: ListedImage, endings: tuple[str, ...]) -> Path:
    stem = folder / image.stem
    found = find_file(stem, endings)
    if found is None:
        raise MissingPrediction(f"{stem}: no {' or '.join(endings)}")
    return found
