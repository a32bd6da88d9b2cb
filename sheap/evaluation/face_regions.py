"""Which part of the face a scan's point belongs to: by its place relative to the eyes and the nose.

The parts follow from the scan and its landmarks alone, so every prediction is judged on the same points. They do not
overlap and leave nothing out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.now.crop import CANONICAL_LANDMARKS_MM
from sheap.evaluation.similarity import procrustes

REGIONS = ("mouth", "eyes", "cheeks", "forehead", "nose")

STILL_LANDMARKS = slice(0, 5)
"""Eye corners and the nose's bottom: the landmarks that expressions move least."""

# Borders on the mean face, mm from a point 6 cm behind the middle of the eyes: |x| to the side, y up.
BROW_TOP = 20.0
LID_BOTTOM = -20.0
NOSE_BOTTOM = -55.0
BRIDGE_SIDE = 12.0
NOSE_SIDE = 20.0
MOUTH_SIDE = 35.0


def face_regions(points: NDArray[np.floating], landmarks: NDArray[np.floating]) -> dict[str, NDArray[np.bool_]]:
    """Masks [P] by region for a scan's points [P,3] with NoW's landmarks [7,3], both in one unit and frame.

    mouth: lips and chin. eyes: from below the lids to the brows. forehead: above. nose: with its bridge. cheeks: the
    rest, down to the jaw.
    """
    to_mean_face = procrustes(
        CANONICAL_LANDMARKS_MM[STILL_LANDMARKS],
        np.asarray(landmarks, dtype=np.float64)[STILL_LANDMARKS],
        allow_reflection=False,
    )
    x, y, _ = to_mean_face.apply(np.asarray(points, dtype=np.float64)).T
    side = np.abs(x)
    forehead = y > BROW_TOP
    mouth = (y <= NOSE_BOTTOM) & (side <= MOUTH_SIDE)
    is_middle = ~forehead & ~mouth
    nose = is_middle & np.where(y > LID_BOTTOM, side <= BRIDGE_SIDE, side <= NOSE_SIDE)
    eyes = is_middle & ~nose & (y > LID_BOTTOM)
    cheeks = is_middle & ~nose & ~eyes
    return {"mouth": mouth, "eyes": eyes, "cheeks": cheeks, "forehead": forehead, "nose": nose}
