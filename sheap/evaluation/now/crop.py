"""NoW's face region of a scan: the ball around the middle of the face whose size follows from the seven landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LANDMARK_NAMES = (
    "right eye outer",
    "right eye inner",
    "left eye inner",
    "left eye outer",
    "nose bottom",
    "right mouth corner",
    "left mouth corner",
)
"""Order of the seven landmarks of scans and predictions (the person's own right and left)."""

CANONICAL_LANDMARKS_MM = np.array(
    [
        [-44.7, -2.8, 67.9],
        [-18.4, -4.7, 73.9],
        [18.4, -4.7, 73.9],
        [44.7, -2.8, 67.9],
        [0.0, -50.0, 95.9],
        [-25.1, -72.7, 81.3],
        [25.1, -72.7, 81.3],
    ]
)
"""The open head's mean landmarks: what the order, handedness and place of others are measured by."""

RADIUS_FACTOR = 1.4
"""Radius of the crop over the mean of eye width and nose height."""


@dataclass(frozen=True)
class FaceCrop:
    """center [3] and radius of the ball in the scan's unit (mm)."""

    center: Floats
    radius: float

    def indices(self, scan_vertices: Floats) -> NDArray[np.int64]:
        """Indices of the scan's vertices [N,3] inside the ball, ascending."""
        return np.flatnonzero(np.linalg.norm(scan_vertices - self.center, axis=1) <= self.radius)


def face_crop(scan_landmarks: NDArray[np.floating], radius_factor: float = RADIUS_FACTOR) -> FaceCrop:
    """The crop of a scan with these landmarks [7,3].

    Centre: from the nose's bottom three tenths of the way to its bridge (the middle of the inner eye corners). Computed
    in the landmarks' own precision: NoW's are float32, and vertices at the rim come in or fall out by the last bit.
    """
    landmarks = np.asarray(scan_landmarks)
    nose_bottom = landmarks[4]
    nose_bridge = (landmarks[1] + landmarks[2]) / 2
    center = nose_bottom + 0.3 * (nose_bridge - nose_bottom)
    eye_width = np.linalg.norm(landmarks[0] - landmarks[3])
    nose_height = np.linalg.norm(nose_bridge - nose_bottom)
    return FaceCrop(center.astype(np.float64), radius_factor * float(eye_width + nose_height) / 2)
