"""A predictor's submission for a benchmark: every listed picture to a mesh (mm) with 7 landmarks, neutral for NoW."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.face_boxes import FaceBox
from sheap.evaluation.mesh_files import TriangleMesh
from sheap.evaluation.picture_crops import BoxToCrop, crop_by_landmarks
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.submission import ListedImage, NowPrediction, write_prediction
from sheap.evaluation.pictures import read_picture
from sheap.head import HeadModel, HeadParams
from sheap.video.crops import CropBox, cut_crop
from sheap.video.face_landmarker import FaceLandmarker, FaceLandmarks

MM_PER_METRE = 1000.0

MeshesOf = Callable[[HeadModel, HeadParams], tuple[list[TriangleMesh], NDArray[np.float64]]]
"""What is made of predicted heads: meshes and landmarks [B,7,3], both in mm."""

Receiver = Callable[[ListedImage, NowPrediction], None]
"""Takes one picture's prediction."""


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


class ImageFolder(Protocol):
    """A benchmark's pictures: NowDataset and ExpressionDataset are some."""

    @property
    def images(self) -> Sequence[ListedImage]: ...

    def image_path(self, image: ListedImage) -> Path: ...

    def face_box(self, image: ListedImage) -> FaceBox | None: ...


@dataclass(frozen=True)
class PredictionSummary:
    """How the pictures were cropped. without_face: no face found and no box given, so nothing is predicted."""

    by_landmarks: tuple[ListedImage, ...]
    by_box: tuple[ListedImage, ...]
    without_face: tuple[ListedImage, ...]

    @property
    def predicted(self) -> frozenset[ListedImage]:
        return frozenset(self.by_landmarks + self.by_box)

    def __str__(self) -> str:
        return (
            f"{len(self.by_landmarks)} cropped by landmarks, {len(self.by_box)} by the given box, "
            f"{len(self.without_face)} without a face"
        )


def predict_now_folder(
    dataset: NowDataset,
    predictor: Predictor,
    output: Path,
    *,
    face_finder: FaceFinder | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> PredictionSummary:
    """Writes a NoW submission folder (neutral meshes) for every picture of the list; see predict_images."""
    return predict_images(
        dataset,
        predictor,
        [(neutral_of, folder_writer(output))],
        face_finder=face_finder,
        batch_size=batch_size,
        progress=progress,
    )


def folder_writer(output: Path) -> Receiver:
    """Receives predictions into a submission folder."""
    return lambda image, prediction: write_prediction(output, image, prediction.mesh, prediction.landmarks)


def predict_images(
    dataset: ImageFolder,
    predictor: Predictor,
    receivers: Sequence[tuple[MeshesOf, Receiver]],
    *,
    face_finder: FaceFinder | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> PredictionSummary:
    """Predicts every picture of the list once, and hands each receiver the meshes that it asks for.

    Crops follow the face's landmarks, as in training. Where no face is found, the benchmark's own box is used, enlarged
    as it is on the pictures where both are known. `progress(done, total)` is called after every batch. Raises OSError
    or ValueError naming a missing or unreadable picture or box.
    """
    finder = FaceLandmarker() if face_finder is None else face_finder
    batches = _Batches(predictor, receivers, batch_size, progress, len(dataset.images))
    known: list[tuple[FaceBox, CropBox]] = []
    by_landmarks: list[ListedImage] = []
    unfound: list[tuple[ListedImage, FaceBox]] = []
    without_face: list[ListedImage] = []
    for image in dataset.images:
        picture, box = read_picture(dataset.image_path(image)), dataset.face_box(image)
        crop = crop_by_landmarks(finder.process(picture), box)
        if crop is not None:
            by_landmarks.append(image)
            batches.add(image, cut_crop(picture, crop, predictor.image_size))
            if box is not None:
                known.append((box, crop))
        elif box is not None:
            unfound.append((image, box))
        else:
            without_face.append(image)
    box_to_crop = BoxToCrop.fit(known)
    for image, box in unfound:
        picture = read_picture(dataset.image_path(image))
        batches.add(image, cut_crop(picture, box_to_crop.crop(box), predictor.image_size))
    batches.flush()
    return PredictionSummary(tuple(by_landmarks), tuple(image for image, _ in unfound), tuple(without_face))


def write_mean_head(images: Iterable[ListedImage], head: HeadModel, output: Path) -> None:
    """The same submission from a predictor that always answers with the mean head: the figure to beat."""
    mean = mean_prediction(head)
    for image in images:
        write_prediction(output, image, mean.mesh, mean.landmarks)


def mean_prediction(head: HeadModel) -> NowPrediction:
    """The mean head."""
    meshes, landmarks = neutral_meshes(head, torch.zeros(1, head.num_shape))
    return NowPrediction(meshes[0], landmarks[0])


def neutral_meshes(head: HeadModel, shape: Tensor) -> tuple[list[TriangleMesh], NDArray[np.float64]]:
    """Neutral meshes and landmarks [B,7,3], both in mm, of identity coefficients [B,S]."""
    with torch.inference_mode():
        return _in_mm(head, head.neutral(shape.to(head.template)))


def neutral_of(head: HeadModel, params: HeadParams) -> tuple[list[TriangleMesh], NDArray[np.float64]]:
    """The neutral meshes of predictions."""
    return neutral_meshes(head, params.shape)


def expressive_meshes(head: HeadModel, params: HeadParams) -> tuple[list[TriangleMesh], NDArray[np.float64]]:
    """Meshes and landmarks [B,7,3], both in mm, with expression, jaw, lids and gaze, the head itself at rest."""
    with torch.inference_mode():
        still = torch.zeros_like(params.translation)
        at_rest = params.replace(root_rotvec=still, neck_rotvec=still, translation=still)
        return _in_mm(head, head(at_rest).vertices)


def _in_mm(head: HeadModel, vertices: Tensor) -> tuple[list[TriangleMesh], NDArray[np.float64]]:
    landmarks = MM_PER_METRE * head.now_landmarks(vertices).double().cpu().numpy()
    faces = head.faces.cpu().numpy()
    return [TriangleMesh(one, faces) for one in MM_PER_METRE * vertices.double().cpu().numpy()], landmarks


class _Batches:
    """Collects crops into batches, predicts them and hands the meshes on."""

    def __init__(
        self,
        predictor: Predictor,
        receivers: Sequence[tuple[MeshesOf, Receiver]],
        batch_size: int,
        progress: Callable[[int, int], None] | None,
        total: int,
    ) -> None:
        self.predictor, self.receivers, self.batch_size = predictor, receivers, batch_size
        self.progress, self.total, self.done = progress, total, 0
        self.waiting: list[tuple[ListedImage, NDArray[np.uint8]]] = []

    def add(self, image: ListedImage, crop: NDArray[np.uint8]) -> None:
        self.waiting.append((image, crop))
        if len(self.waiting) >= self.batch_size:
            self.flush()

    def flush(self) -> None:
        if not self.waiting:
            return
        images: Sequence[ListedImage] = [image for image, _ in self.waiting]
        crops = torch.from_numpy(np.stack([crop for _, crop in self.waiting]))
        params = self.predictor.predict(crops.permute(0, 3, 1, 2).float() / 255)
        for meshes_of, receive in self.receivers:
            meshes, landmarks = meshes_of(self.predictor.head, params)
            for image, mesh, points in zip(images, meshes, landmarks, strict=True):
                receive(image, NowPrediction(mesh, points))
        self.done += len(images)
        self.waiting.clear()
        if self.progress is not None:
            self.progress(self.done, self.total)
