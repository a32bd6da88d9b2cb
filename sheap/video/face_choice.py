"""Which of the faces found in a picture is meant, where someone says where it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sheap.video.face_landmarker import FaceLandmarks

Sides = tuple[float, float, float, float]
"""left, top, right, bottom, px."""


def meant_face(faces: Sequence[FaceLandmarks], box: Sides | None) -> FaceLandmarks | None:
    """The face whose landmarks overlap `box` most, without a box the surest; None when there is none such."""
    if not faces or box is None:
        return faces[0] if faces else None
    overlaps = [box_overlap(face.points, box) for face in faces]
    return faces[int(np.argmax(overlaps))] if max(overlaps) > 0 else None


def box_overlap(points: NDArray[np.floating], box: Sides) -> float:
    """Intersection over union of `box` and the bounding box of points [P, 2 or 3] px."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    left, top, right, bottom = box
    width, height = min(high[0], right) - max(low[0], left), min(high[1], bottom) - max(low[1], top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    union = (high[0] - low[0]) * (high[1] - low[1]) + (right - left) * (bottom - top) - shared
    return float(shared / union)
