"""MakeHuman's nostrils are dimples; real ones are deep, and scans see into them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.head.recipe.topology import HeadTopology

Array = NDArray[np.float64]

FLOOR_BASE_VERTICES = (7142, 7143, 7152, 7153, 7154, 7155, 7156, 7157, 7158)
WALL_BASE_VERTICES = (7141, 7144, 7145, 7146, 7147, 7148, 7149, 7150, 7151)
"""Base-mesh vertices of the left nostril: what closes it, and the ring between that and its rim."""
FLOOR_MOVES = (-0.004, 0.013, -0.004)
WALL_MOVES = (-0.0025, 0.006, -0.001)
"""Metres: inwards, up and a little back. Further back they would come out beside the wings of narrow noses."""


def deepen_nostrils(points: Array, head: HeadTopology) -> Array:
    """Points [P, 3] whose nostrils lead 13 mm into the nose."""
    out = points.copy()
    for base_ids, moves in ((FLOOR_BASE_VERTICES, FLOOR_MOVES), (WALL_BASE_VERTICES, WALL_MOVES)):
        ids = head.local_ids(np.array(base_ids))
        out[ids] += moves
        out[head.mirror[ids]] += np.array(moves) * [-1, 1, 1]
    return out


def nostril_mask(head: HeadTopology) -> NDArray[np.bool_]:
    """Points [P] inside the nostrils, which follow their rims."""
    mask = np.zeros(len(head.base_ids), dtype=bool)
    mask[head.local_ids(np.array(FLOOR_BASE_VERTICES + WALL_BASE_VERTICES))] = True
    return mask | mask[head.mirror]
