"""Where a head is and how it is turned, from its landmarks alone.

MediaPipe's z lies on the same scale as x and y (weak perspective), so a rigid fit of a canonical face in centimetres
to the landmarks gives rotation, size in the picture, and the place of points that cannot be seen, such as the head's
centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

RIGID_LANDMARKS = np.array([33, 133, 362, 263, 9, 151, 10, 168, 6, 197, 195, 4, 98, 327, 127, 356, 234, 454])
"""Eye corners, forehead, nose, temples, ears' front: points that expressions and the jaw hardly move."""

_CANONICAL_CM = np.array(
    [
        [-4.446, 2.664, 3.173], [-1.856, 2.585, 3.758], [1.856, 2.585, 3.758], [4.446, 2.664, 3.173],
        [0, 4.886, 5.385], [0, 6.545, 5.027], [0, 8.262, 4.482], [0, 3.271, 5.236], [0, 2.473, 5.789],
        [0, 1.728, 6.317], [0, 1.059, 6.775], [0, -0.463, 7.587], [-1.406, -1.714, 5.241], [1.406, -1.714, 5.241],
        [-7.743, 2.365, -2.005], [7.743, 2.365, -2.005], [-7.664, 0.673, -2.436], [7.664, 0.673, -2.436],
    ]
)  # fmt: skip
"""The rigid landmarks on MediaPipe's canonical face (Apache-2.0): x to the person's left, y up, z out of the face."""

_MEAN_CM = _CANONICAL_CM.mean(0)
_CENTRED_CM = _CANONICAL_CM - _MEAN_CM
_UP_AND_OUT = np.array([1.0, -1.0, -1.0])
_SPREAD_CM2 = float((_CENTRED_CM**2).sum())

EYE_LEVEL_CM = 2.6
CHIN_CM = -9.4
"""Heights of the eyes' midpoint and of the chin on the canonical face."""

HEAD_ORIGIN_CM = np.array([0.0, EYE_LEVEL_CM, -3.7])
"""The head model's origin on the canonical face: 6 cm behind the midpoint of the eyeballs (z = 2.3)."""


@dataclass(frozen=True)
class HeadPose:
    """Rigid fit: picture = origin + px_per_cm * (rotation @ canonical), with picture y and z turned to up and out.

    rotation [3, 3] maps head axes (x the person's left, y up, z out of the face) to the viewer's (x right, y up,
    z towards the viewer); a face looking into the camera has the identity.
    """

    rotation: NDArray[np.float64]
    px_per_cm: float
    origin_px: NDArray[np.float64]

    def project(self, points_cm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Canonical points [..., 3] in cm as pixels [..., 2]."""
        seen = self.origin_px + self.px_per_cm * (points_cm @ self.rotation.T)
        return seen[..., :2] * [1, -1]

    def in_plane_deg(self) -> float:
        """How far the face is turned clockwise on the screen, -180 to 180: the turn nearest to all of its rotation.

        Unlike the roll below it tells upside down from upright, and holds up to profiles.
        """
        return -math.degrees(
            math.atan2(self.rotation[1, 0] - self.rotation[0, 1], self.rotation[0, 0] + self.rotation[1, 1])
        )

    def euler_deg(self, turn_deg: float = 0.0) -> tuple[float, float, float]:
        """Yaw (positive: towards the person's left), pitch (positive: up), roll (positive: clockwise on screen).

        turn_deg: of a picture that is turned back, counter-clockwise, by so much.
        """
        rotation = self.rotation
        if turn_deg:
            cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
            rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ rotation
        out, across = rotation[:, 2], rotation[:, 0]
        yaw = math.degrees(math.atan2(out[0], out[2]))
        pitch = math.degrees(math.asin(float(np.clip(out[1], -1, 1))))
        roll = -math.degrees(math.atan2(across[1], math.hypot(across[0], across[2])))
        return yaw, pitch, roll


def fit_head_pose(landmarks_px: NDArray[np.float32]) -> HeadPose:
    """Similarity fit (Umeyama 1991, eq. 40-42) of the canonical face to landmarks [478, 3] px.

    Raises ValueError when the landmarks have no extent.
    """
    seen = landmarks_px[RIGID_LANDMARKS] * _UP_AND_OUT
    seen_mean = seen.mean(0)
    if not np.isfinite(seen_mean).all():
        raise ValueError("landmarks: they span no face")
    d, u, vt = cv2.SVDecomp((seen - seen_mean).T @ _CENTRED_CM)  # of so small a matrix many times as fast as numpy's
    sign = np.array([1.0, 1.0, math.copysign(1.0, cv2.determinant(u @ vt))])
    rotation = (u * sign) @ vt
    px_per_cm = float(sign @ d[:, 0]) / _SPREAD_CM2
    if px_per_cm <= 0:
        raise ValueError("landmarks: they span no face")
    return HeadPose(rotation, px_per_cm, seen_mean - px_per_cm * rotation @ _MEAN_CM)
