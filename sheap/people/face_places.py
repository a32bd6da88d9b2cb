"""Named places on the mean head's surface: hairline, brows, cheeks. Each is a soft weight per point in 0..1.

Points are on the mean head (metres), whatever the identity: a texture's texel keeps its place on every head.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SKULL_CENTRE = np.array([0.0, 0.018, -0.018], np.float32)
CROWN = np.array([0.0, 0.098, -0.068], np.float32)
"""Where hair whorls: strands lie away from it."""

# Height of the hairline (m) by azimuth from the front (degrees), from a natural hairline: forehead, temple, sideburn
# in front of the ear, above the ear, behind it, nape.
_HAIRLINE_DEG = np.array([0, 18, 32, 46, 58, 68, 76, 84, 96, 106, 116, 130, 150, 180], np.float32)
_HAIRLINE_Y = np.array([72, 72, 70, 60, 44, 18, -18, -24, 12, 14, -12, -52, -72, -76], np.float32) * np.float32(1e-3)
_RECEDED_Y = np.array([112, 114, 112, 96, 66, 24, -18, -24, 12, 14, -12, -52, -72, -76], np.float32) * np.float32(1e-3)


def hairline_form(points: Array) -> tuple[Array, Array]:
    """How much points are of the peak in the middle of the hairline, and of the corners at the temples, each 0..1."""
    azimuth = np.degrees(np.arctan2(np.abs(points[..., 0]), points[..., 2] - SKULL_CENTRE[2]))
    peak, corners = np.exp(-0.5 * (azimuth / 9) ** 2), np.exp(-0.5 * ((azimuth - 42) / 12) ** 2)
    return peak.astype(np.float32), corners.astype(np.float32)


def blob(points: Array, centre: tuple[float, float, float], radius: float) -> Array:
    """A soft spot around +-x of a centre (m)."""
    x, y, z = np.array(centre, np.float32)
    squared = (np.abs(points[..., 0]) - x) ** 2 + (points[..., 1] - y) ** 2 + (points[..., 2] - z) ** 2
    return np.exp(-0.5 * squared / radius**2).astype(np.float32)


def hairline_height(points: Array, *, receded: float = 0.0, shift: float = 0.0) -> Array:
    """How far (m) points lie above the hairline; negative is bare skin. receded 0..1 opens forehead and crown."""
    azimuth = np.degrees(np.arctan2(np.abs(points[..., 0]), points[..., 2] - SKULL_CENTRE[2]))
    line = np.interp(azimuth, _HAIRLINE_DEG, _HAIRLINE_Y + receded * (_RECEDED_Y - _HAIRLINE_Y)).astype(np.float32)
    return points[..., 1] - line - np.float32(shift)


def brow_coordinates(points: Array, arch: float, height: float) -> tuple[Array, Array]:
    """Along (0 at the nose, 1 at the temple) and across (m, positive up) the brow, for points [..., 3]."""
    x, y = np.abs(points[..., 0]), points[..., 1]
    along = (x - 0.0115) / 0.046
    peak = 0.0035 + 0.004 * arch
    centre = (
        0.0165
        + height
        + peak * np.sin(np.pi * np.clip(along, 0, 1.15) * 0.8)
        - 0.0075 * np.clip(along - 0.55, 0, 1) ** 1.5
    )
    return along.astype(np.float32), (y - centre).astype(np.float32)
