"""Smoothing in time without lag: a window that looks as far ahead as back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smooth_at(
    times_s: NDArray[np.float64], values: NDArray[np.float64], at: int, sigma_s: float
) -> NDArray[np.float64]:
    """Value `at` of a series [T, C] after a Gaussian of `sigma_s` seconds, fitted as a local line.

    The local line (not a mean) keeps a steady motion where it is, also at the ends, where the window is one-sided.
    sigma_s = 0 returns the value itself.
    """
    if sigma_s <= 0 or len(values) == 1:
        return values[at]
    offset = (times_s - times_s[at]) / sigma_s
    weights = np.exp(-0.5 * offset**2)
    weights /= weights.sum()
    mean_offset = float(weights @ offset)
    mean_value = weights @ values
    spread = float(weights @ (offset - mean_offset) ** 2)
    if spread < 1e-6:
        return mean_value
    slope = (weights * (offset - mean_offset)) @ (values - mean_value) / spread
    return mean_value - slope * mean_offset
