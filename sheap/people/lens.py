"""From linear light to a frame as a cheap camera delivers it: exposure, sensor noise, softness, tone curve,
vignette."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import linear_to_srgb


@dataclass(frozen=True)
class Lens:
    """exposure multiplies the light; noise: spread at mid grey (sRGB, 0..1); softness_px: blur; vignette: loss in the
    corners; contrast and saturation around 1. Of photographs alone: balance [3]: what a wrong white balance multiplies
    channels by; motion_px: length and direction (x, y) of the shake; detail: size of the picture as it was taken,
    against the one it is enlarged to; jpeg: its quality (0: not compressed); veil: strength of stray light and dirt.
    """

    exposure: float
    noise: float
    softness_px: float
    vignette: float
    contrast: float
    saturation: float
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    motion_px: tuple[float, float] = (0.0, 0.0)
    detail: float = 1.0
    jpeg: int = 0
    veil: float = 0.0


def sample_lens(
    rng: np.random.Generator, diagonal_px: float, skin: NDArray[np.float32], *, photo: bool = False
) -> Lens:
    """A camera between a good phone and an old webcam, pointed at a face of plain colour `skin` (linear RGB [3]).

    photo: with what single pictures from anywhere suffer beside it: wrong colours and exposure, shake, stray light,
    enlargement and compression.
    """
    # Cameras meter the face: darker skin is exposed longer, though never all the way.
    metering = np.clip((0.35 / float(skin.mean())) ** 0.35, 0.8, 1.6)
    lens = Lens(
        exposure=float(rng.uniform(0.8, 1.2) * metering),
        noise=float(rng.choice([rng.uniform(0.002, 0.008), rng.uniform(0.01, 0.03)], p=[0.75, 0.25])),
        softness_px=float(rng.uniform(0.2, 0.75) * diagonal_px / 450),
        vignette=float(rng.uniform(0, 0.25)),
        contrast=float(rng.uniform(0.9, 1.15)),
        saturation=float(rng.uniform(0.75, 1.1)),
    )
    if not photo:
        return lens
    shake = rng.uniform(0, 0.012) * diagonal_px if rng.random() < 0.25 else 0.0
    angle = rng.uniform(0, np.pi)
    red, blue = np.exp(rng.normal(0, 0.08)), np.exp(rng.normal(0, 0.10))
    green = np.exp(rng.normal(0, 0.025))
    grey = rng.random() < 0.04
    return replace(
        lens,
        exposure=float(lens.exposure * np.exp(rng.normal(0.06, 0.25))),
        # A crop is mostly smaller than it was taken: its noise averaged.
        noise=float(lens.noise * rng.uniform(0.2, 0.8)),
        contrast=float(rng.uniform(0.8, 1.3)),
        saturation=0.0 if grey else float(rng.uniform(0.65, 1.3)),
        balance=(float(red), float(green), float(blue)),
        motion_px=(float(shake * np.cos(angle)), float(shake * np.sin(angle))),
        detail=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.25 else 1.0,
        jpeg=int(rng.integers(35, 96)) if rng.random() < 0.7 else 0,
        veil=float(rng.uniform(0.02, 0.2)) if rng.random() < 0.15 else 0.0,
    )


_TABLE_SIZE, _TABLE_END = 16384, 2.5
"""The tone curve as a table over linear light: its steps are finer than an output level even in the shadows."""


def _tone_curve(lens: Lens) -> NDArray[np.float32]:
    """sRGB [T] of linear light from 0 to _TABLE_END."""
    light = np.linspace(0, _TABLE_END, _TABLE_SIZE, dtype=np.float32) * np.float32(lens.exposure)
    # A shoulder instead of a hard clip: highlights on skin keep their colour.
    light = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.45), light)
    return (0.45 + lens.contrast * (linear_to_srgb(light) - 0.45)).astype(np.float32)


def photograph(linear: NDArray[np.floating], lens: Lens, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] to a uint8 sRGB frame."""
    full_height, full_width = linear.shape[:2]
    image = linear
    if lens.balance != (1.0, 1.0, 1.0):
        image = image * np.array(lens.balance, np.float32)
    if lens.veil > 0:
        image = _veiled(image, lens.veil, rng)
    if lens.vignette > 0:
        y = np.linspace(-1, 1, full_height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, full_width, dtype=np.float32)[None]
        image = image * (1 - np.float32(lens.vignette / 2) * (x * x + y * y))[..., None]
    if max(map(abs, lens.motion_px)) > 0.5:
        image = cv2.filter2D(image, -1, _streak(*lens.motion_px), borderType=cv2.BORDER_REPLICATE)
    if lens.softness_px > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), lens.softness_px)
    if lens.detail < 1:
        taken = (max(round(full_width * lens.detail), 8), max(round(full_height * lens.detail), 8))
        image = cv2.resize(image, taken, interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    index = np.clip(image * np.float32(_TABLE_SIZE / _TABLE_END), 0, _TABLE_SIZE - 1).astype(np.uint16)
    image = _tone_curve(lens)[index]
    grey = (image[..., :1] + image[..., 1:2] + image[..., 2:]) * np.float32(1 / 3)
    image = grey + np.float32(lens.saturation) * (image - grey)
    image = image + np.float32(lens.noise) * rng.standard_normal((height, width, 1), np.float32)
    # Chroma noise is softer than luminance noise, as after a camera's denoising.
    chroma = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), np.float32)
    image += np.float32(lens.noise * 0.6) * cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if lens.jpeg > 0:
        _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, lens.jpeg])
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if lens.detail < 1:
        picture = cv2.resize(picture, (full_width, full_height), interpolation=cv2.INTER_CUBIC)
    return picture


def _streak(x: float, y: float) -> NDArray[np.float32]:
    """The kernel of a straight shake by (x, y) px."""
    half = int(np.ceil(max(abs(x), abs(y)) / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 8 * half + 1):
        kernel[round(half + t * y), round(half + t * x)] += 1
    return kernel / kernel.sum()


def _veiled(image: NDArray[np.float32], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Light from beside the picture that strays in the lens, brightest towards where it comes from, with dim spots
    where dirt on the glass spreads it."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:1:24j, 0:1:24j].astype(np.float32)
    at_x, at_y = rng.uniform(-0.4, 1.4), rng.uniform(-0.5, 0.6)
    veil = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / np.float32(rng.uniform(0.2, 1.2)))
    for _ in range(rng.integers(0, 5)):
        spot = (x - rng.random()) ** 2 + (y - rng.random()) ** 2
        veil += rng.uniform(0.1, 0.5) * np.exp(-spot / np.float32(rng.uniform(0.002, 0.02)))
    veil = cv2.resize(veil.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    color = np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.6, 1.1)], np.float32)
    return image + np.float32(strength) * veil * color

