"""Measures on real video, where there is no ground truth: jitter over time, and agreement with detected landmarks.

Neither is an error: a frozen head has no jitter, and detected landmarks are themselves predictions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
"""MediaPipe's outer eye corners, whose distance normalises the reprojection error."""


def jitter(points: Floats) -> float:
    """Frame-to-frame noise of points [T,P,D] over T >= 3 consecutive frames, in their unit.

    The RMS of second differences over the root of six: for points that rest or move evenly, the standard deviation of
    white noise on each coordinate. Uneven motion counts as well, so compare figures on the same video only.
    Raises ValueError for fewer frames or another shape.
    """
    if points.ndim != 3 or len(points) < 3:
        raise ValueError(f"points: expected [T,P,D] with at least three frames, got {list(points.shape)}")
    bends = points[2:] - 2 * points[1:-1] + points[:-2]
    return float(np.sqrt((np.asarray(bends, np.float64) ** 2).mean() / 6))


def reprojection_errors(
    predicted_px: Floats, detected_px: Floats, weights: Floats | None = None
) -> NDArray[np.float64]:
    """Mean distance [...] between projected and detected landmarks [...,478,2] px over the detected eyes' distance.

    weights [478] as in the head model's landmark_weights; None weighs all alike. Raises ValueError naming the field for
    other shapes, or weights that sum to zero.
    """
    if predicted_px.shape != detected_px.shape or predicted_px.shape[-2:] != (478, 2):
        raise ValueError(
            f"predicted_px: expected detected_px's shape [...,478,2], got {list(predicted_px.shape)} "
            f"and {list(detected_px.shape)}"
        )
    weights = np.ones(478) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (478,) or not weights.sum() > 0:
        raise ValueError("weights: expected [478] with a positive sum")
    distances = np.linalg.norm(np.asarray(predicted_px, np.float64) - detected_px, axis=-1)
    return (distances @ weights) / weights.sum() / eye_distances(detected_px)


def eye_distances(landmarks_px: Floats) -> NDArray[np.float64]:
    """Distance [...] of the outer eye corners of landmarks [...,478,2]."""
    across = np.asarray(landmarks_px[..., RIGHT_EYE_OUTER, :], np.float64) - landmarks_px[..., LEFT_EYE_OUTER, :]
    return np.linalg.norm(across, axis=-1)
