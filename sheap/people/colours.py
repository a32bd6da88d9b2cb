"""Colour: light is added and multiplied in linear RGB; pictures and textures on disk are sRGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def srgb_to_linear(srgb: NDArray) -> NDArray:
    """sRGB [0, 1] to linear light, same shape (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, np.float32)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: NDArray) -> NDArray:
    """Linear light to sRGB [0, 1], same shape; negative light counts as none."""
    linear = np.maximum(np.asarray(linear, np.float32), 0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


_LEVELS = srgb_to_linear(np.arange(256) / 255)


def bytes_to_linear(image: NDArray) -> NDArray:
    """uint8 sRGB [..., C] to linear light by table."""
    return _LEVELS[image]


_BYTES = np.round(linear_to_srgb(np.arange(16384) / 16383) * 255).astype(np.uint8)


def linear_to_bytes(linear: NDArray) -> NDArray[np.uint8]:
    """Linear light, cut to 0..1, as uint8 sRGB, by a table (a step at most off in the darkest tones)."""
    return _BYTES[(np.clip(linear, 0, 1) * 16383 + 0.5).astype(np.uint16)]
