"""A benchmark's pictures to predicted parameters: each picture is decoded, cropped and predicted once, for all measures.

Kept are the parameters (2 kB a picture), not meshes: those are made where a measure asks for them (head_meshes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.face_boxes import FaceBox
from sheap.evaluation.picture_crops import BoxToCrop, crop_by_landmarks
from sheap.evaluation.pictures import PICTURES_A_PASS, read_picture
from sheap.evaluation.verdict import judge_prediction
from sheap.head import HeadModel, HeadParams
from sheap.head.turning import turned_back
from sheap.video.crops import CropBox, cut_crop
from sheap.video.face_choice import FaceFinder, meant_face
from sheap.video.face_landmarker import FaceLandmarks
from sheap.video.face_search import FaceModels

Progress = Callable[[int, int], None]


class Predictor(Protocol):
    """What is asked of a predictor: sheap.predictor.SheapPredictor is one."""

    @property
    def head(self) -> HeadModel: ...

    @property
    def image_size(self) -> int: ...

    def predict(self, images: Tensor) -> HeadParams: ...


class FaceFinderAndModels(FaceFinder, FaceModels, Protocol):
    """Finds faces in pictures and follows them in videos: FaceLandmarker is one."""


class PictureSet(Protocol):
    """A benchmark's pictures: NowDataset, ExpressionDataset and EmotionPictures are some."""

    @property
    def images(self) -> Sequence[Any]: ...

    def image_path(self, image: Any) -> Path: ...

    def face_box(self, image: Any) -> FaceBox | None: ...


@dataclass
class CropCounts:
    """How the pictures were cropped. without_face: no face found and no box given, so nothing is predicted.

    unreadable: pictures that could not be read (or whose box could not), each with why. faces: of the pictures that were cropped
    by landmarks, those of the face, and the crop.
    """

    by_landmarks: list[Any] = field(default_factory=list)
    by_box: list[Any] = field(default_factory=list)
    without_face: list[Any] = field(default_factory=list)
    unreadable: dict[Any, str] = field(default_factory=dict)
    faces: dict[Any, tuple[FaceLandmarks, CropBox]] = field(default_factory=dict, repr=False)

    @property
    def predicted(self) -> frozenset[Any]:
        return frozenset(self.by_landmarks + self.by_box)

    def first_unreadable(self) -> str:
        """How many could not be read and why the first could not, to end a sentence with; '' where all could."""
        first = next(iter(self.unreadable.values()), None)
        return "" if first is None else f"; {len(self.unreadable)} cannot be read (first: {first})"

    def __str__(self) -> str:
        return (
            f"{len(self.by_landmarks)} cropped by landmarks, {len(self.by_box)} by the given box, "
            f"{len(self.without_face)} without a face"
        ) + (f", {len(self.unreadable)} unreadable" if self.unreadable else "")


@dataclass(frozen=True)
class Predictions:
    """What one predictor says of a benchmark's pictures.

    params: R heads; rows: which of them each picture has. Pictures of one row have one prediction (the mean head has one
    row for all), so what follows from it is computed once.
    """

    head: HeadModel
    params: HeadParams
    rows: Mapping[Any, int]


Variant = Callable[[Predictions], Predictions]
"""Makes another method of a predictor's answers, e.g. `mean_head`, or identities fused over a person's pictures."""


def mean_head(predictions: Predictions) -> Predictions:
    """The mean head for every picture that the predictor answered: the figure to beat."""
    return mean_heads(predictions.head, predictions.rows)


def mean_heads(head: HeadModel, images: Iterable[Any]) -> Predictions:
    """The mean head for these pictures."""
    return Predictions(head, HeadParams.zeros(head, 1), dict.fromkeys(images, 0))


def predict_pictures(
    pictures: PictureSet,
    predictors: Mapping[str, Predictor],
    finder: FaceFinder,
    *,
    batch_size: int = PICTURES_A_PASS,
    progress: Progress | None = None,
) -> tuple[CropCounts, dict[str, Predictions]]:
    """Every predictor's answer to every picture with a face, by the predictors' names. See predict_batches."""
    counts, images = CropCounts(), []
    parts: dict[str, list[HeadParams]] = {name: [] for name in predictors}
    for batch, answers in predict_batches(pictures, predictors, finder, counts, batch_size=batch_size, progress=progress):
        images += batch
        for name, params in answers.items():
            parts[name].append(params.detach().to("cpu"))
    rows = {image: row for row, image in enumerate(images)}
    return counts, {
        name: Predictions(predictor.head, joined(predictor.head, parts[name]), rows) for name, predictor in predictors.items()
    }


def predict_batches(
    pictures: PictureSet,
    predictors: Mapping[str, Predictor],
    finder: FaceFinder,
    counts: CropCounts,
    *,
    batch_size: int,
    progress: Progress | None = None,
) -> Iterator[tuple[list[Any], dict[str, HeadParams]]]:
    """Batches of pictures with every predictor's parameters, until all pictures of the list are done.

    Crops follow the face's landmarks, as in training, and are turned where the face lies on its side or upside down; parameters
    are those of the picture as it is. Where no face is found, the benchmark's own box is used, enlarged
    as it is on the pictures where both are known; these pictures come last. `counts` is filled on the way;
    `progress(done, total)` is called after every picture. A missing or unreadable picture, or box, is counted with its reason
    and ends nothing.
    """
    sizes = {predictor.image_size for predictor in predictors.values()}
    waiting: list[_Waiting] = []
    for done, (image, picture, crop) in enumerate(_cropped(pictures, finder, counts), start=1):
        if picture is not None and crop is not None:
            crops = {size: cut_crop(picture, crop, size) for size in sizes}
            waiting.append(_Waiting(image, crops, crop.turn_deg))
        if progress is not None:
            progress(done, len(pictures.images))
        if len(waiting) == batch_size:
            yield _predicted(waiting, predictors)
            waiting = []
    if waiting:
        yield _predicted(waiting, predictors)


def as_input(crops: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Crops [S,S,3] uint8 RGB -> what a predictor takes, [B,3,S,S] in [0,1]."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def joined(head: HeadModel, parts: Sequence[HeadParams]) -> HeadParams:
    """The heads of several batches in one."""
    if not parts:
        return HeadParams.zeros(head, 0)
    return HeadParams.concatenate(parts)


def _cropped(
    pictures: PictureSet, finder: FaceFinder, counts: CropCounts
) -> Iterator[tuple[Any, NDArray[np.uint8] | None, CropBox | None]]:
    """Every picture with its crop; the crop is None where there is no face, both are where it cannot be read."""
    known: list[tuple[FaceBox, CropBox]] = []
    unfound: list[tuple[Any, FaceBox]] = []
    for image in pictures.images:
        read = _read(pictures, image, counts)
        if read is None:
            yield image, None, None
            continue
        picture, box = read
        found = finder.process(picture)
        crop = crop_by_landmarks(found, box)
        if crop is not None and (face := meant_face(found, None if box is None else box.sides)) is not None:
            counts.faces[image] = face, crop.level()
        if crop is None and box is not None:
            unfound.append((image, box))
            continue
        (counts.without_face if crop is None else counts.by_landmarks).append(image)
        if crop is not None and box is not None and not crop.turn_deg:  # a box says nothing of a turn
            known.append((box, crop))
        yield image, picture, crop
    box_to_crop = BoxToCrop.fit(known)
    for image, box in unfound:
        found = _read(pictures, image, counts)
        if found is not None:
            counts.by_box.append(image)
        yield image, None if found is None else found[0], box_to_crop.crop(box)


def _read(
    pictures: PictureSet, image: Any, counts: CropCounts
) -> tuple[NDArray[np.uint8], FaceBox | None] | None:
    """The picture and its box; None, and counted, where one cannot be read."""
    try:
        return read_picture(pictures.image_path(image)), pictures.face_box(image)
    except OSError as error:
        counts.unreadable[image] = str(error) if error.strerror is None else f"{error.filename}: {error.strerror}"
    except ValueError as error:
        counts.unreadable[image] = str(error)
    return None


def verdict_of(predictions: Predictions, counts: CropCounts, image: Any) -> dict[str, Any]:
    """Whether a picture's prediction is to be trusted, as Verdict.to_json has it; without landmarks it cannot be said."""
    if image not in counts.faces:
        return {"verdict": "doubtful", "reasons": ["no landmarks found, cropped by the benchmark's box"]}
    row = predictions.rows[image]
    face, crop = counts.faces[image]
    return judge_prediction(predictions.head, predictions.params.index(slice(row, row + 1)), crop, face).to_json()


@dataclass(frozen=True)
class _Waiting:
    """A picture's crops [S,S,3] by S, turned upright by so many degrees."""

    image: Any
    crops: dict[int, NDArray[np.uint8]]
    turn_deg: float


def _predicted(
    waiting: Sequence[_Waiting], predictors: Mapping[str, Predictor]
) -> tuple[list[Any], dict[str, HeadParams]]:
    inputs = {size: as_input([one.crops[size] for one in waiting]) for size in waiting[0].crops}
    turns = torch.tensor([one.turn_deg for one in waiting])
    answers = {
        name: turned_back(predictor.head, predictor.predict(inputs[predictor.image_size]), turns)
        for name, predictor in predictors.items()
    }
    return [one.image for one in waiting], answers
