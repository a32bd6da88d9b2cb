"""The true error, where prediction and truth share a topology: distances of corresponding vertices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.similarity import procrustes

Floats = NDArray[np.float64]


def true_vertex_errors(predicted: Floats, truth: Floats, region: NDArray[np.bool_]) -> Floats:
    """Distances [R] of a region's vertices from the true ones, in the truth's unit.

    predicted, truth [N,3], region [N] with R vertices set. Scale, rotation and translation (no reflection) are fitted
    to the region's correspondences by least squares: no nearest point and no landmark can flatter a wrong shape.
    Raises ValueError naming the field for other shapes.
    """
    if predicted.shape != truth.shape or predicted.ndim != 2 or predicted.shape[1] != 3:
        raise ValueError(f"predicted: expected the truth's shape {list(truth.shape)}, got {list(predicted.shape)}")
    if region.shape != truth.shape[:1] or region.sum() < 4:
        raise ValueError(f"region: expected a mask [{len(truth)}] of at least four vertices")
    ours, theirs = np.asarray(predicted[region], np.float64), np.asarray(truth[region], np.float64)
    return np.linalg.norm(procrustes(theirs, ours, allow_reflection=False).apply(ours) - theirs, axis=1)
