"""A predictor for videos without a network: the made one, whose faces can be followed and whose sightings say a shape."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from sheap.head import HeadParams
from sheap.video.face_detector import FaceDetection
from sheap.video.face_landmarker import FaceLandmarks
from sheap.video.face_region import FaceRoi, face_box
from tests.pipeline.commands.made_predictor import SIZE, MadePredictor


class MadeVideoPredictor(MadePredictor):
    """Sees a head in every square of SIZE px, side by side, that is not black; its shape is what the square's blue says."""

    def __init__(self) -> None:
        super().__init__()
        self._landmarker = SimpleNamespace(  # type: ignore[assignment]
            process=self.faces, all_faces=self.squares, detect=self.detections, landmarks=self.landmarks
        )

    def squares(self, image: np.ndarray) -> list[FaceLandmarks]:
        found = []
        for left in range(0, image.shape[1] - SIZE + 1, SIZE):
            for face in self.faces(image[:SIZE, left : left + SIZE]):
                found.append(FaceLandmarks(face.points + np.array([left, 0, 0], np.float32), face.presence))
        return found

    def detections(self, image: np.ndarray) -> list[FaceDetection]:
        found = []
        for face in self.squares(image):
            box = face_box(face.points)
            eyes = np.stack([face.points[33, :2], face.points[263, :2]])
            found.append(FaceDetection(box, eyes, 0.99))
        return found

    def landmarks(self, image: np.ndarray, roi: FaceRoi) -> FaceLandmarks:
        faces = self.squares(image)
        if not faces:
            return FaceLandmarks(self.points, 0.0)
        apart = [np.abs(face_box(face.points)[[0, 2]].mean() - roi.center_x) for face in faces]
        return faces[int(np.argmin(apart))]

    def shape_from(self, values: Tensor) -> Tensor:
        return values

    def sight(self, images: Tensor) -> tuple[HeadParams, Tensor, Tensor]:
        shapes = torch.zeros(len(images), self.head.num_shape)
        shapes[:, 0] = 4 * (images[:, 2].mean((1, 2)) - 0.5)
        return self.predict(images).replace(shape=shapes), shapes, torch.zeros(len(images))


def frame(*colours: tuple[int, int, int], seed: int = 0, noise_to: int = 5) -> np.ndarray:
    """[SIZE, SIZE * len(colours), 3] uint8: squares side by side."""
    noise = np.random.default_rng(seed).integers(0, noise_to, (SIZE, SIZE * len(colours), 3))
    flat = np.concatenate([np.full((SIZE, SIZE, 3), colour) for colour in colours], 1)
    return np.where(flat > 0, np.minimum(flat + noise, 255), 0).astype(np.uint8)
