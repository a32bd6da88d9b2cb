"""Joints as averages of head vertices, so that a linear regressor places them exactly for every identity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def average_row(members: IntArray, num_vertices: int) -> Array:
    """A regressor row [N] that averages the given vertices."""
    row = np.zeros(num_vertices)
    row[members] = 1 / len(members)
    return row


def symmetric_members(
    target: Array, vertices: Array, candidates: NDArray[np.bool_], mirror: IntArray, num_pairs: int
) -> IntArray:
    """Left-right pairs of candidate vertices whose average comes closest to `target` (x = 0), chosen one after the
    other.

    Prefers pairs near the target's height and depth, so that the joint follows its own neighbourhood from face to face.
    """
    left = np.flatnonzero(candidates & (vertices[:, 0] > 1e-4))
    middles = ((vertices[left] + vertices[mirror[left]]) / 2)[:, 1:]
    near = np.argsort(np.linalg.norm(middles - target[1:], axis=1))[: 8 * num_pairs]
    left, middles = left[near], middles[near]
    chosen: list[int] = []
    total = np.zeros(2)
    for step in range(num_pairs):
        error = np.linalg.norm((total + middles) / (step + 1) - target[1:], axis=1)
        error[chosen] = np.inf
        best = int(error.argmin())
        chosen.append(best)
        total += middles[best]
    return np.sort(np.concatenate([left[chosen], mirror[left[chosen]]]))
