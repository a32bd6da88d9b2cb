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
from sheap.evaluation.pictures import read_picture
from sheap.head import HeadModel, HeadParams
from sheap.video.crops import CropBox, cut_crop
from sheap.video.face_landmarker import FaceLandmarks

Progress = Callable[[int, int], None]


class Predictor(Protocol):
    """What is asked of a predictor: sheap.predictor.SheapPredictor is one."""

    @property
    def head(self) -> HeadModel: ...

    @property
    def image_size(self) -> int: ...

    def predict(self, images: Tensor) -> HeadParams: ...


class FaceFinder(Protocol):
    """Finds faces with landmarks: sheap.video.face_landmarker.FaceLandmarker is one."""

    def process(self, image: NDArray[np.uint8]) -> list[FaceLandmarks]: ...


class PictureSet(Protocol):
    """A benchmark's pictures: NowDataset, ExpressionDataset and EmotionPictures are some."""

    @property
    def images(self) -> Sequence[Any]: ...

    def image_path(self, image: Any) -> Path: ...

    def face_box(self, image: Any) -> FaceBox | None: ...


@dataclass
class CropCounts:
    """How the pictures were cropped. without_face: no face found and no box given, so nothing is predicted."""

    by_landmarks: list[Any] = field(default_factory=list)
    by_box: list[Any] = field(default_factory=list)
    without_face: list[Any] = field(default_factory=list)

    @property
    def predicted(self) -> frozenset[Any]:
        return frozenset(self.by_landmarks + self.by_box)

    def __str__(self) -> str:
        return (
            f"{len(self.by_landmarks)} cropped by landmarks, {len(self.by_box)} by the given box, "
            f"{len(self.without_face)} without a face"
        )


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
    batch_size: int = 16,
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
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Iterator[tuple[list[Any], dict[str, HeadParams]]]:
    """Batches of pictures with every predictor's parameters, until all pictures of the list are done.

    Crops follow the face's landmarks, as in training. Where no face is found, the benchmark's own box is used, enlarged
    as it is on the pictures where both are known; these pictures come last. `counts` is filled on the way;
    `progress(done, total)` is called after every picture. Raises OSError or ValueError naming a missing or unreadable
    picture or box.
    """
    sizes = {predictor.image_size for predictor in predictors.values()}
    waiting: list[tuple[Any, dict[int, NDArray[np.uint8]]]] = []
    for done, (image, picture, crop) in enumerate(_cropped(pictures, finder, counts), start=1):
        if crop is not None:
            waiting.append((image, {size: cut_crop(picture, crop, size) for size in sizes}))
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
) -> Iterator[tuple[Any, NDArray[np.uint8], CropBox | None]]:
    """Every picture with its crop, None where there is no face."""
    known: list[tuple[FaceBox, CropBox]] = []
    unfound: list[tuple[Any, FaceBox]] = []
    for image in pictures.images:
        picture, box = read_picture(pictures.image_path(image)), pictures.face_box(image)
        crop = crop_by_landmarks(finder.process(picture), box)
        if crop is None and box is not None:
            unfound.append((image, box))
            continue
        (counts.without_face if crop is None else counts.by_landmarks).append(image)
        if crop is not None and box is not None:
            known.append((box, crop))
        yield image, picture, crop
    box_to_crop = BoxToCrop.fit(known)
    for image, box in unfound:
        counts.by_box.append(image)
        yield image, read_picture(pictures.image_path(image)), box_to_crop.crop(box)


def _predicted(
    waiting: Sequence[tuple[Any, dict[int, NDArray[np.uint8]]]], predictors: Mapping[str, Predictor]
) -> tuple[list[Any], dict[str, HeadParams]]:
    inputs = {size: as_input([crops[size] for _, crops in waiting]) for size in waiting[0][1]}
    answers = {name: predictor.predict(inputs[predictor.image_size]) for name, predictor in predictors.items()}
    return [image for image, _ in waiting], answers
