"""Where a face is, and the square patch of the picture around it that the landmark model is shown.

Coordinates are pixels, centres at +0.5. A region's roll comes from the line of the eyes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.face_detector import FaceDetection

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
"""Landmarks whose line gives the face's roll."""

ROI_MARGIN = 1.5
"""The region's side over the longer side of the box it is made from."""


@dataclass(frozen=True)
class FaceRoi:
    """An upright-turned square around a face: centre and side in px; rotation in radians, clockwise on the screen."""

    center_x: float
    center_y: float
    side: float
    rotation: float


@dataclass(frozen=True)
class FaceLandmarks:
    """points [478, 3]: x, y in image pixels, z (towards the viewer is negative) in the same unit; presence in 0..1."""

    points: NDArray[np.float32]
    presence: float


def roi_from_detection(detection: FaceDetection) -> FaceRoi:
    """The region to look at for a detected face, turned so that the eyes are level."""
    right_eye, left_eye = detection.keypoints[0], detection.keypoints[1]
    return _roi_around(detection.box[:2], detection.box[2:], right_eye, left_eye)


def roi_from_landmarks(points: NDArray[np.float32]) -> FaceRoi:
    """The region to look at in the next frame for a face whose landmarks [478, 2 or 3] are known in this one."""
    xy = points[:, :2]
    return _roi_around(xy.min(0), xy.max(0), xy[RIGHT_EYE_OUTER], xy[LEFT_EYE_OUTER])


def face_box(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bounding box (left, top, right, bottom) of landmarks [478, 2 or 3], px."""
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])


def _roi_around(
    low: NDArray[np.float32], high: NDArray[np.float32], right_eye: NDArray[np.float32], left_eye: NDArray[np.float32]
) -> FaceRoi:
    centre = (low + high) / 2
    across = left_eye - right_eye
    rotation = math.atan2(float(across[1]), float(across[0]))
    return FaceRoi(float(centre[0]), float(centre[1]), ROI_MARGIN * float((high - low).max()), rotation)


def roi_to_image(roi: FaceRoi, size: int) -> NDArray[np.float64]:
    """Affine map [2, 3] from a size x size patch of the region to the picture, both in px with centres at +0.5.

    MediaPipe lets the patch's first pixel centre, not its corner, fall on the region's corner. We cut the same patch,
    so that the model sees the same pixels, but map points back by where the patch really lies; MediaPipe's own
    landmarks carry a shift of (side / size - 1) / 2 px.
    """
    scale = roi.side / size
    cos, sin = scale * math.cos(roi.rotation), scale * math.sin(roi.rotation)
    linear = np.array([[cos, -sin], [sin, cos]])
    offset = np.array([roi.center_x, roi.center_y]) - linear @ np.full(2, size / 2)
    offset += 0.5 - linear @ np.full(2, 0.5)
    return np.concatenate([linear, offset[:, None]], axis=1)


def warp_patch(image: NDArray[np.uint8], to_image: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The size x size patch that `to_image` [2, 3] maps into the picture; outside it the border is repeated.

    OpenCV counts pixel centres at whole numbers; the half-pixel shifts translate between its habit and ours.
    """
    to_index = to_image.copy()
    to_index[:, 2] += 0.5 * (to_image[:, 0] + to_image[:, 1]) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, to_index, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
