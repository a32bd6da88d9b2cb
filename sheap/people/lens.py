"""From linear light to a frame as a cheap camera delivers it: exposure, sensor noise, softness, tone curve,
vignette."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import linear_to_srgb


@dataclass(frozen=True)
class Lens:
    """exposure multiplies the light; noise: spread at mid grey (sRGB, 0..1); softness_px: blur; vignette: loss in the
    corners; contrast and saturation around 1."""

    exposure: float
    noise: float
    softness_px: float
    vignette: float
    contrast: float
    saturation: float


def sample_lens(rng: np.random.Generator, diagonal_px: float, skin: NDArray[np.float32]) -> Lens:
    """A camera between a good phone and an old webcam, pointed at a face of plain colour `skin` (linear RGB [3])."""
    # Cameras meter the face: darker skin is exposed longer, though never all the way.
    metering = np.clip((0.35 / float(skin.mean())) ** 0.35, 0.8, 1.6)
    return Lens(
        exposure=float(rng.uniform(0.8, 1.2) * metering),
        noise=float(rng.choice([rng.uniform(0.002, 0.008), rng.uniform(0.01, 0.03)], p=[0.75, 0.25])),
        softness_px=float(rng.uniform(0.2, 0.75) * diagonal_px / 450),
        vignette=float(rng.uniform(0, 0.25)),
        contrast=float(rng.uniform(0.9, 1.15)),
        saturation=float(rng.uniform(0.75, 1.1)),
    )


_TABLE_SIZE, _TABLE_END = 16384, 2.5
"""The tone curve as a table over linear light: its steps are finer than an output level even in the shadows."""


def _tone_curve(lens: Lens) -> NDArray[np.float32]:
    """sRGB [T] of linear light from 0 to _TABLE_END."""
    light = np.linspace(0, _TABLE_END, _TABLE_SIZE, dtype=np.float32) * np.float32(lens.exposure)
    # A shoulder instead of a hard clip: highlights on skin keep their colour.
    light = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.45), light)
    return (0.45 + lens.contrast * (linear_to_srgb(light) - 0.45)).astype(np.float32)


def photograph(linear: NDArray[np.float32], lens: Lens, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] to a uint8 sRGB frame."""
    height, width = linear.shape[:2]
    image = linear
    if lens.vignette > 0:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        image = image * (1 - np.float32(lens.vignette / 2) * (x * x + y * y))[..., None]
    if lens.softness_px > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), lens.softness_px)
    index = np.clip(image * np.float32(_TABLE_SIZE / _TABLE_END), 0, _TABLE_SIZE - 1).astype(np.uint16)
    image = _tone_curve(lens)[index]
    grey = (image[..., :1] + image[..., 1:2] + image[..., 2:]) * np.float32(1 / 3)
    image = grey + np.float32(lens.saturation) * (image - grey)
    image = image + np.float32(lens.noise) * rng.standard_normal((height, width, 1), np.float32)
    # Chroma noise is softer than luminance noise, as after a camera's denoising.
    chroma = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), np.float32)
    image += np.float32(lens.noise * 0.6) * cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
