"""Smooth random fields: the raw material of skin, cloth, walls and motion. Everything is a pure function of a seed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Floats = NDArray[np.floating]


def image_noise(
    rng: np.random.Generator, height: int, width: int, cells: float, *, octaves: int = 1, gain: float = 0.5
) -> Array:
    """Smooth noise [height, width], about zero mean and unit spread.

    cells: number of bumps along the longer side; each further octave has twice as many and `gain` times the weight.
    """
    total = np.zeros((height, width), np.float32)
    power = 0.0
    longer = max(height, width)
    for octave in range(octaves):
        count = cells * 2**octave
        rows, columns = (max(2, round(count * side / longer)) + 3 for side in (height, width))
        coarse = rng.standard_normal((rows, columns)).astype(np.float32)
        weight = gain**octave
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        power += weight**2
    # Cubic interpolation averages neighbours: white cells of unit spread come out at about 0.72.
    return total / (0.72 * np.sqrt(power))


def point_noise(rng: np.random.Generator, points: Array, wavelength: float, *, components: int = 24) -> Array:
    """Smooth noise at points [..., D], zero mean and unit spread: a sum of random plane waves.

    wavelength: typical distance between bumps, in the unit of `points`. Source: random Fourier features.
    """
    dims = points.shape[-1]
    frequencies = rng.standard_normal((dims, components)).astype(np.float32) * np.float32(2 * np.pi / wavelength / 1.5)
    phases = rng.uniform(0, 2 * np.pi, components).astype(np.float32)
    waves = np.cos(points @ frequencies + phases)
    return waves.sum(-1) * np.float32(np.sqrt(2 / components))


def smooth_curve(rng: np.random.Generator, times_s: Array, period_s: float) -> Array:
    """A smooth random curve at `times_s` [T], zero mean and unit spread over many seeds: slow waves about
    `period_s`."""
    periods = period_s * np.exp(rng.uniform(-0.5, 0.9, 5))
    phases = rng.uniform(0, 2 * np.pi, 5)
    weights = rng.uniform(0.4, 1.0, 5)
    weights /= np.sqrt((weights**2).sum() / 2)
    waves = weights[:, None] * np.sin(2 * np.pi * times_s[None] / periods[:, None] + phases[:, None])
    return waves.sum(0).astype(np.float32)


def smoothstep(low: float, high: float, values: Floats | np.floating) -> Floats:
    """0 below `low`, 1 above `high`, smooth between (works with low > high too: then it falls)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
