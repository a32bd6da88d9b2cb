"""From linear light to a frame as a cheap camera delivers it: exposure, sensor noise, softness, tone curve, vignette."""

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


def sample_lens(rng: np.random.Generator, diagonal_px: float) -> Lens:
    """A camera between a good phone and an old webcam."""
    return Lens(
        exposure=float(rng.uniform(0.8, 1.2)),
        noise=float(rng.choice([rng.uniform(0.002, 0.008), rng.uniform(0.01, 0.03)], p=[0.75, 0.25])),
        softness_px=float(rng.uniform(0.2, 0.75) * diagonal_px / 450),
        vignette=float(rng.uniform(0, 0.25)),
        contrast=float(rng.uniform(0.9, 1.15)),
        saturation=float(rng.uniform(0.75, 1.1)),
    )


def photograph(linear: NDArray[np.float32], lens: Lens, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] to a uint8 sRGB frame."""
    height, width = linear.shape[:2]
    image = linear * np.float32(lens.exposure)
    if lens.vignette > 0:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        image = image * (1 - np.float32(lens.vignette / 2) * (x * x + y * y))[..., None]
    if lens.softness_px > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), lens.softness_px)
    # A shoulder instead of a hard clip: highlights on skin keep their colour.
    image = np.where(image > 0.7, 0.7 + 0.3 * np.tanh((image - 0.7) / 0.45), image)
    image = linear_to_srgb(image)
    grey = image.mean(-1, keepdims=True)
    image = grey + np.float32(lens.saturation) * (image - grey)
    image = 0.45 + np.float32(lens.contrast) * (image - 0.45)
    # Chroma noise is softer than luminance noise, as after a camera's denoising.
    image = image + np.float32(lens.noise) * rng.standard_normal((height, width, 1), np.float32)
    chroma = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), np.float32)
    image += np.float32(lens.noise * 0.6) * cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
