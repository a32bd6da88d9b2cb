"""What a frame is worth: measures that are stored with it and thresholds that drop it under a named reason."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field


class FrameFilter(BaseModel):
    """Thresholds; a frame beyond one is dropped and counted under that field's reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_head_px: float = Field(ge=0)
    """Side of the head crop in the video's own pixels."""
    min_sharpness: float = Field(ge=0)
    min_presence: float = Field(ge=0, le=1)
    max_yaw_deg: float = Field(gt=0)
    max_pitch_deg: float = Field(gt=0)
    max_roll_deg: float = Field(gt=0, le=45)
    """Roll that is left when a clip has been turned by quarters; the network is trained for so much."""
    max_outside: float = Field(ge=0, le=1)
    """Share of the crop that lies beyond the picture."""
    min_face_visible: float = Field(ge=0, le=1)
    """Mean opacity of the mask over the face's landmarks: what stands before a face is no part of the person."""

    def reason_to_drop(
        self,
        *,
        head_px: float,
        sharpness: float,
        presence: float,
        pose_deg: tuple[float, float, float],
        outside: float,
        roll_deg: float = 0.0,
    ) -> str | None:
        """The first reason to drop a frame, or None to keep it. roll_deg: in the plane of the crop."""
        if presence < self.min_presence:
            return "doubtful_landmarks"
        if head_px < self.min_head_px:
            return "small_head"
        if abs(pose_deg[0]) > self.max_yaw_deg or abs(pose_deg[1]) > self.max_pitch_deg:
            return "turned_away"
        if abs(roll_deg) > self.max_roll_deg:
            return "rolled_head"
        if outside > self.max_outside:
            return "outside_picture"
        if sharpness < self.min_sharpness:
            return "blurred"
        return None


def face_visible(mask: NDArray[np.uint8], landmarks_px: NDArray[np.float32]) -> float:
    """Mean opacity 0..1 of a mask [S, S] at the landmarks [478, 3] px; 1 where none lies in the crop.

    A proxy of occlusion: a microphone, a subtitle or another head before the face are background to the segmenter.
    """
    columns, rows = landmarks_px[:468, :2].astype(np.int64).T
    size = mask.shape[0]
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    return float(mask[rows[inside], columns[inside]].mean()) / 255 if inside.any() else 1.0


def sharpness(crop: NDArray[np.uint8], landmarks_px: NDArray[np.float32]) -> float:
    """Mean squared Laplacian of the face's lightness over its variance: 0 for a flat blur, above 0.1 when crisp.

    Measured on the crop itself, so that an enlarged small face counts as the blurred one that it is.
    """
    size = crop.shape[0]
    left, top = (min(max(math.floor(place), 0), size) for place in landmarks_px[:, :2].min(0))
    right, bottom = (min(max(math.ceil(place), 0), size) for place in landmarks_px[:, :2].max(0))
    if min(right - left, bottom - top) < 4:
        return 0.0
    grey = cv2.cvtColor(crop[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    detail = cv2.norm(cv2.Laplacian(grey, cv2.CV_16S), cv2.NORM_L2SQR) / grey.size
    _, spread = cv2.meanStdDev(grey)
    return float(detail / (spread[0, 0] ** 2 + 1.0))
