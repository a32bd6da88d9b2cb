"""The square head crop that the predictor expects: one rule for ingestion, prediction and the benchmark.

The published camera sees 0.25 m at the world's origin. The crop is the square that such a camera, a little farther
back, would see around the head's origin: CROP_SIDE_CM wide there, so that hair above and some neck below stay inside. A
mean head at rest under the published camera therefore covers the pictured head, 20 % too large and 0.5 cm too high;
both are what the predicted translation is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.head_pose import HEAD_ORIGIN_CM, fit_head_pose

CROP_SIDE_CM = 30.0
"""Side of the crop at the head: 23 cm from chin to crown, hair, and some air."""

CROP_RISE_CM = 0.5
"""How far above the head's origin (eye level) the crop's centre lies in the picture: hair needs more than a jaw."""


@dataclass(frozen=True)
class CropBox:
    """A square: centre and side in px of the full picture. Unpacks as (center_x, center_y, side)."""

    center_x: float
    center_y: float
    side: float

    def __iter__(self):
        return iter((self.center_x, self.center_y, self.side))


def crop_box(landmarks_px: NDArray[np.float32]) -> CropBox:
    """The head crop for landmarks [478, 3] px of the full picture. Raises ValueError when they span no face."""
    pose = fit_head_pose(landmarks_px)
    x, y = pose.project(HEAD_ORIGIN_CM)
    return CropBox(float(x), float(y - CROP_RISE_CM * pose.px_per_cm), CROP_SIDE_CM * pose.px_per_cm)


def box_to_crop(box: CropBox, size: int) -> NDArray[np.float64]:
    """Affine map [2, 3] from px of the full picture to px of the size x size crop, centres at +0.5 in both."""
    scale = size / box.side
    return np.array(
        [
            [scale, 0, size / 2 - scale * box.center_x],
            [0, scale, size / 2 - scale * box.center_y],
        ]
    )


def cut_crop(image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
    """The crop [size, size, 3] of a uint8 picture [H, W, 3]; beyond the picture its border is repeated.

    Shrinking averages pixels instead of skipping some: the square is cut at a multiple of `size` and area-averaged.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1 px, got {size}")
    factor = max(1, round(box.side / size))
    fine = size * factor
    to_picture = cv2.invertAffineTransform(box_to_crop(box, fine))
    # OpenCV counts pixel centres at whole numbers
    to_picture[:, 2] += 0.5 * (to_picture[:, 0] + to_picture[:, 1]) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image, to_picture, (fine, fine), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return crop if factor == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def landmarks_to_crop(landmarks_px: NDArray[np.float32], box: CropBox, size: int) -> NDArray[np.float32]:
    """Landmarks [..., 2 or 3] of the full picture in px of its crop; z keeps the scale of x and y."""
    to_crop = box_to_crop(box, size)
    moved = landmarks_px * (size / box.side)
    moved[..., :2] += to_crop[:, 2]
    return moved.astype(np.float32)


def inside_picture(box: CropBox, size: int, height: int, width: int) -> NDArray[np.bool_]:
    """Which pixels [size, size] of the crop lie in the height x width picture; the others are repeated border."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    x, y = box.center_x + axis * box.side, box.center_y + axis * box.side
    return ((y >= 0) & (y <= height))[:, None] & ((x >= 0) & (x <= width))[None]
