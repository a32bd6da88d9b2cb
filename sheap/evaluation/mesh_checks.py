"""Whether arrays are a mesh or a point cloud at all. Light: whoever only reads and writes files compiles nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def check_mesh(vertices: NDArray[np.generic], faces: NDArray[np.generic], name: str = "mesh") -> None:
    """Raises ValueError naming the field when the arrays do not describe a triangle mesh with finite vertices."""
    faces = np.asarray(faces)
    check_points(vertices, f"{name} vertices")
    if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0:
        raise ValueError(f"{name} faces: expected [F,3] with F > 0, got {list(faces.shape)}")
    if not np.issubdtype(faces.dtype, np.integer):
        raise ValueError(f"{name} faces: expected integers, got {faces.dtype}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f"{name} faces: indices run from {faces.min()} to {faces.max()}, but there are {len(vertices)} vertices"
        )


def check_points(points: NDArray[np.generic], name: str) -> None:
    """Raises ValueError naming the field when the array is not [N,3] with N > 0 and finite."""
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(f"{name}: expected [N,3] with N > 0, got {list(points.shape)}")
    broken = int((~np.isfinite(points).all(axis=1)).sum())
    if broken:
        raise ValueError(f"{name}: {broken} of {len(points)} are NaN or infinite")
