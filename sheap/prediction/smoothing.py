"""Smoothing in time without lag, whose window narrows where something happens: jitter goes, blinks and plosives stay.

A frame's value is that of a local parabola, fitted to the frames around it with Gaussian weights. How wide the Gaussian is, is
decided frame by frame after Lepski's rule (Goldenshluger and Nemirovski, "On spatially adaptive estimation of nonparametric
regression", 1997): the widest one whose value still agrees with those of all narrower ones, as far as noise lets them. The window
looks as far ahead as back, so nothing comes late.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTHS = (0.0, 0.8, 1.2, 1.8, 2.7, 4.0, 6.0)
"""Sigmas that are tried, in frames; 0 is the value itself."""

REACH = 3.0
"""How far a window goes, in sigmas."""

_TRANSITION = 1.5
"""Sigma, frames, over which a frame's width passes into its neighbours': a sudden change of width would be jitter, too."""

LEAST_NOISE = 0.02
"""Of the most: less does not count. A column that rests but for rounding would else keep all others as they are."""

_NOISE_OF_BENDS = 0.6745 * np.sqrt(6.0)
"""Median size of a second difference of white noise, in its standard deviations."""


def smoothed(
    times_s: Floats,
    values: Floats,
    agreement: float,
    *,
    together: bool,
    most_noise: float | Floats = np.inf,
    widths: Sequence[float] = WIDTHS,
) -> Floats:
    """A series [T, C] without its jitter.

    times_s [T]: rising. agreement: how many standard deviations of noise the values of two windows may differ by and still count
    as agreeing; more smooths more. together: all columns get the width of the one in which most happens, as coordinates of
    one motion should; else each has its own. most_noise: standard deviation (or one a column, [C]) above which a column's unrest
    is motion, whatever it looks like: a camera shaken by hand is no jitter. widths: sigmas in frames, rising from 0. Series of
    fewer than four values are given back as they are.
    """
    if len(values) < 4:
        return values.copy()
    places = times_s / np.median(np.diff(times_s))
    least = np.where(np.isfinite(most_noise), LEAST_NOISE * np.asarray(most_noise), 1e-6 * np.abs(values).max(0))
    noise = np.minimum(noise_of(values), most_noise).clip(least)
    chosen = np.zeros(values.shape)
    is_open = np.ones(values.shape, bool)
    found: list[Floats] = []
    spreads: list[Floats] = []
    for number, width in enumerate(widths):
        weights = window_weights(places, width)
        value, spread = apply_window(weights, values), np.sqrt((weights**2).sum(1))[:, None]
        for other, other_spread in zip(found, spreads, strict=True):
            is_open &= np.abs(value - other) <= agreement * other_spread * noise
        if together:
            is_open &= is_open.all(1, keepdims=True)
        chosen[is_open] = number
        found.append(value)
        spreads.append(spread)
    eased = _eased(chosen)
    below = np.minimum(eased.astype(np.int64), len(widths) - 2)
    share = eased - below
    stacked = np.stack(found)
    lower, upper = (np.take_along_axis(stacked, (below + step)[None], 0)[0] for step in (0, 1))
    return lower + share * (upper - lower)


def noise_of(values: Floats) -> Floats:
    """Standard deviation [C] of the white noise in each column of a series [T, C]: the median of its second differences, so that
    the few frames in which something happens do not count."""
    bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
    return np.median(bends, axis=0) / _NOISE_OF_BENDS


def window_weights(places: Floats, width: float) -> Floats:
    """Weights [T, W] of the frames T - W//2 ... T + W//2 whose sum is the parabola's value at T; places [T] and the Gaussian's
    sigma `width` in frames. A width of 0 is the value itself."""
    reach = int(np.ceil(REACH * width))
    if reach == 0:
        return np.ones((len(places), 1))
    numbers = np.arange(len(places))[:, None] + np.arange(-reach, reach + 1)
    is_there = (numbers >= 0) & (numbers < len(places))
    scaled = (places[numbers.clip(0, len(places) - 1)] - places[:, None]) / width
    kernel = np.where(is_there & (np.abs(scaled) <= REACH + 1e-9), np.exp(-0.5 * scaled**2), 0.0)
    powers = np.stack([np.ones_like(scaled), scaled, scaled**2], -1)
    normal = np.einsum("tw,twi,twj->tij", kernel, powers, powers)
    first = np.linalg.pinv(normal, rcond=1e-8, hermitian=True)[:, 0]
    return np.einsum("ti,twi->tw", first, powers) * kernel


def apply_window(weights: Floats, values: Floats) -> Floats:
    """Weighted sums [T, C] of a series [T, C] with weights [T, W] as window_weights gives them."""
    reach = weights.shape[1] // 2
    padded = np.pad(values, ((reach, reach), (0, 0)))
    around = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[1], axis=0)
    return np.einsum("tw,tcw->tc", weights, around)


def _eased(chosen: Floats) -> Floats:
    """Numbers of widths [T, C] that change gradually, nowhere above those that were chosen for a frame or its neighbours."""
    nearby = np.lib.stride_tricks.sliding_window_view(np.pad(chosen, ((1, 1), (0, 0)), mode="edge"), 3, axis=0).min(-1)
    reach = int(np.ceil(REACH * _TRANSITION))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _TRANSITION) ** 2)
    padded = np.pad(nearby, ((reach, reach), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
    return np.minimum(nearby, around @ (kernel / kernel.sum()))
