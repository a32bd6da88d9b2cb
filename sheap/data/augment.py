"""Augmentation of a source/target pair, in uint8.

Geometry is drawn for each frame by itself (where a crop lies says nothing about the person) and done in one warp that
also mirrors and resizes, so that landmarks keep pixel centres at +0.5. Photometrics are drawn once and done to both
frames alike: the source's lighting must explain the target.
"""

from __future__ import annotations

import math
import os

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sheap.data.frames import Frames, Pairs
from sheap.data.landmark_mirror import LANDMARK_MIRROR
from sheap.data.truth import FrameTruth, TruthMirror

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would call out to the package index on import
import albumentations


class AugmentParams(BaseModel):
    """Ranges to draw from; a zero switches that part off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = Field(ge=0)
    """Zoom of each crop, log-uniform within 1/(1 + scale) and 1 + scale."""
    shift: float = Field(ge=0)
    """Shift of each crop along x and y, in crop sides."""
    rotation_deg: float = Field(ge=0)
    flip: float = Field(ge=0, le=1)
    """Probability of mirroring both frames."""
    photometric: float = Field(ge=0)
    """Strength of the colour changes; 1 is moderate."""
    grey: float = Field(ge=0, le=1)
    """Probability of both frames losing their colour."""
    blur: float = Field(ge=0, le=1)
    """Probability of both being blurred."""
    compression: float = Field(ge=0, le=1)
    """Probability of both being compressed anew."""
    noise: float = Field(ge=0, le=1)
    """Probability of a sensor's noise in both."""
    low_resolution: float = Field(ge=0, le=1)
    """Probability of both being shrunk to a quarter to three quarters and enlarged again."""
    occluders: float = Field(ge=0, le=1)
    """Probability of plain patches before both faces. What hides a real face spoils the photometric terms: for supervised
    training."""


class PairAugmenter:
    """Turns two stored crops into two training crops of `image_size`. The same `rng` state gives the same result.

    params=None only resizes.
    """

    def __init__(
        self, image_size: int, params: AugmentParams | None, truth_mirror: TruthMirror | None = None
    ) -> None:
        self._image_size = image_size
        self._params = params
        self._truth_mirror = truth_mirror
        self._photometrics = _photometrics(params) if params is not None else None

    def __call__(self, pair: Pairs, rng: np.random.Generator) -> Pairs:
        if self._params is None:
            return Pairs(self._warp(pair.source, None, False), self._warp(pair.target, None, False))
        flip = bool(rng.random() < self._params.flip)
        source, target = self._warp(pair.source, rng, flip), self._warp(pair.target, rng, flip)
        if self._photometrics is not None:
            self._photometrics.set_random_seed(int(rng.integers(2**31)))
            changed = self._photometrics(image=source.images.numpy(), target=target.images.numpy())
            source = source.replace(images=torch.from_numpy(changed["image"]))
            target = target.replace(images=torch.from_numpy(changed["target"]))
        return Pairs(source, target)

    def _warp(self, frame: Frames, rng: np.random.Generator | None, flip: bool) -> Frames:
        """Resizes a crop and, given `rng`, moves it about."""
        size, stored = self._image_size, frame.images.shape[0]
        if rng is None and size == stored:
            return frame
        image, mask, points = frame.images.numpy(), frame.masks.numpy(), frame.landmarks.numpy()
        factor = stored // size
        if factor >= 2:  # a linear warp alone would alias
            reduced = stored // factor
            image = cv2.resize(image, (reduced, reduced), interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask, (reduced, reduced), interpolation=cv2.INTER_AREA)
        to_output = self._draw(stored, rng, flip)
        from_reduced = to_output.copy()
        from_reduced[:, :2] *= stored / image.shape[0]
        index_map = _between_centres(from_reduced)
        image = cv2.warpAffine(image, index_map, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(mask, index_map, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        truth = None if frame.truth is None else self._moved_truth(frame.truth, to_output, flip)
        return Frames.from_arrays(image, mask, _moved_points(points, to_output, flip), truth)

    def _moved_truth(self, truth: FrameTruth, to_output: NDArray[np.float64], flip: bool) -> FrameTruth:
        if flip:
            if self._truth_mirror is None:
                raise ValueError("truth: mirrored pictures need to know how the head model mirrors")
            truth = self._truth_mirror(truth)
        return truth.replace(landmarks=torch.from_numpy(_moved_points(truth.landmarks.numpy(), to_output, flip)))

    def _draw(self, stored: int, rng: np.random.Generator | None, flip: bool) -> NDArray[np.float64]:
        """Affine map [2, 3] from px of the stored crop to px of the output."""
        size, params = self._image_size, self._params
        zoom = size / stored
        angle, shift = 0.0, np.zeros(2)
        if rng is not None:
            assert params is not None
            zoom *= math.exp(rng.uniform(-1, 1) * math.log1p(params.scale))
            angle = math.radians(params.rotation_deg) * rng.uniform(-1, 1)
            shift = rng.uniform(-1, 1, 2) * params.shift * size
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        if flip:
            linear = linear @ np.diag([-1.0, 1.0])
        offset = size / 2 + shift - linear @ np.full(2, stored / 2)
        return np.concatenate([linear, offset[:, None]], axis=1)


def _moved_points(points: NDArray[np.float32], to_output: NDArray[np.float64], flip: bool) -> NDArray[np.float32]:
    """Landmarks [478, 3] px in the output's pixels; z keeps the scale of x and y."""
    moved = np.empty_like(points)
    moved[:, :2] = points[:, :2] @ to_output[:, :2].T + to_output[:, 2]
    moved[:, 2] = points[:, 2] * math.sqrt(abs(np.linalg.det(to_output[:, :2])))
    return moved[LANDMARK_MIRROR] if flip else moved


def _between_centres(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same map for OpenCV, which puts pixel centres at whole numbers."""
    moved = affine.copy()
    moved[:, 2] += 0.5 * (affine[:, 0] + affine[:, 1]) - 0.5
    return moved


def _photometrics(params: AugmentParams) -> albumentations.Compose:
    strength = params.photometric
    return albumentations.Compose(
        [
            albumentations.ColorJitter(
                brightness=(1 - 0.2 * strength, 1 + 0.2 * strength),
                contrast=(1 - 0.2 * strength, 1 + 0.2 * strength),
                saturation=(1 - 0.25 * strength, 1 + 0.25 * strength),
                hue=(-0.02 * strength, 0.02 * strength),
                p=0.8 if strength else 0.0,
            ),
            albumentations.ToGray(p=params.grey),
            albumentations.GaussianBlur(blur_limit=(3, 5), p=params.blur),
            albumentations.CoarseDropout(
                num_holes_range=(1, 3), hole_height_range=(0.08, 0.35), hole_width_range=(0.08, 0.35), fill="random_uniform",
                p=params.occluders,
            ),
            albumentations.Downscale(scale_range=(0.25, 0.75), p=params.low_resolution),
            albumentations.GaussNoise(std_range=(0.01, 0.06), noise_scale_factor=0.5, p=params.noise),
            albumentations.ImageCompression(quality_range=(50, 95), p=params.compression),
        ],
        additional_targets={"target": "image"},
        seed=0,
    )
