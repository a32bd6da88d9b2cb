"""The head crop of a benchmark picture: by the face's landmarks, as in training, or else by the given box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sheap.evaluation.face_boxes import FaceBox
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM, CropBox, crop_box
from sheap.video.face_choice import meant_face
from sheap.video.face_landmarker import FaceLandmarks

LANDMARK_BOX_CM = 15.6
"""Size (mean of width and height) of the box around a mean head's face landmarks."""

LANDMARK_BOX_DROP_CM = 3.2
"""How far its centre lies below the head's origin."""


@dataclass(frozen=True)
class BoxToCrop:
    """How a detector's box becomes the head crop: side = ratio * box size, centre raised by rise * box size.

    Detectors frame faces differently; the defaults are for a box that just holds the face's landmarks.
    """

    ratio: float = CROP_SIDE_CM / LANDMARK_BOX_CM
    rise: float = (CROP_RISE_CM + LANDMARK_BOX_DROP_CM) / LANDMARK_BOX_CM

    @classmethod
    def fit(cls, pairs: Sequence[tuple[FaceBox, CropBox]]) -> BoxToCrop:
        """Medians over pictures where both are known; the defaults when there are none."""
        if not pairs:
            return cls()
        ratios = [crop.side / box.size for box, crop in pairs]
        rises = [(box.center[1] - crop.center_y) / box.size for box, crop in pairs]
        return cls(float(np.median(ratios)), float(np.median(rises)))

    def crop(self, box: FaceBox) -> CropBox:
        """The head crop around a box."""
        x, y = box.center
        return CropBox(x, y - self.rise * box.size, self.ratio * box.size)


def crop_by_landmarks(faces: Sequence[FaceLandmarks], box: FaceBox | None) -> CropBox | None:
    """The crop of the face that is meant: the one that overlaps `box` most, without a box the surest.

    None when there is no face, none overlaps the box, or its landmarks span no head.
    """
    chosen = meant_face(faces, None if box is None else box.sides)
    if chosen is None:
        return None
    try:
        return crop_box(chosen.points)
    except ValueError:
        return None
