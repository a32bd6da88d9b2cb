"""The square head crop that the predictor expects: one rule for ingestion, prediction and the benchmark.

The published camera sees 0.25 m at the world's origin. The crop is the square that such a camera, a little farther
back, would see around the head's origin: CROP_SIDE_CM wide there, so that hair above and some neck below stay inside. A
face that is rolled farther than the network knows is brought upright by turning the crop (MAX_ROLL_DEG, turn_to_level). A
mean head at rest under the published camera therefore covers the pictured head, 20 % too large and 0.5 cm too high;
both are what the predicted translation is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.head_pose import HEAD_ORIGIN_CM, HeadPose, fit_head_pose

CROP_SIDE_CM = 30.0
"""Side of the crop at the head: 23 cm from chin to crown, hair, and some air."""

CROP_RISE_CM = 0.5
"""How far above the head's origin (eye level) the crop's centre lies in the picture: hair needs more than a jaw."""

MAX_ROLL_DEG = 25.0
"""Roll that a crop may keep, either way. The shipped predictor was trained on faces of which 95 % are rolled by less.
`python -m experiments.roll_range PICTURES` prints how identities change with the roll: on nine portraits by 1.0 to 1.3 mm
(median) at 25 degrees, 2.4 to 3.1 at 45."""


@dataclass(frozen=True)
class CropBox:
    """A square: centre and side in px of the full picture. Unpacks as (center_x, center_y, side).

    turn_deg: how far its upper edge is turned clockwise about its centre, 0 up to 360; the crop shows it level.
    """

    center_x: float
    center_y: float
    side: float
    turn_deg: float = 0.0

    def __iter__(self):
        return iter((self.center_x, self.center_y, self.side))

    def level(self) -> CropBox:
        """The same square with its upper edge level in the picture."""
        return CropBox(self.center_x, self.center_y, self.side)


def turn_to_level(in_plane_deg: float, max_roll_deg: float = MAX_ROLL_DEG) -> float:
    """By how much a crop is turned, 0 up to 360, for a face that is turned clockwise by `in_plane_deg`.

    By quarters, which lose nothing, where at most `max_roll_deg` of roll is left then; else by all of it.
    """
    quarters = 90.0 * round(in_plane_deg / 90)
    return (quarters if abs(in_plane_deg - quarters) <= max_roll_deg else in_plane_deg) % 360


def crop_box(landmarks_px: NDArray[np.float32], max_roll_deg: float = MAX_ROLL_DEG) -> CropBox:
    """The head crop for landmarks [478, 3] px of the full picture, turned where the face is rolled farther.

    Raises ValueError when they span no face.
    """
    pose = fit_head_pose(landmarks_px)
    return crop_box_of_pose(pose, turn_to_level(pose.in_plane_deg(), max_roll_deg))


def crop_box_of_pose(pose: HeadPose, turn_deg: float = 0.0) -> CropBox:
    """The head crop where the head's pose in the full picture, and the crop's turn, are known already."""
    x, y = pose.project(HEAD_ORIGIN_CM)
    cos, sin = _direction(turn_deg)
    rise = CROP_RISE_CM * pose.px_per_cm
    return CropBox(float(x + sin * rise), float(y - cos * rise), CROP_SIDE_CM * pose.px_per_cm, turn_deg)


def _direction(turn_deg: float) -> tuple[float, float]:
    """Cosine and sine, exact for quarter turns."""
    quarters, rest = divmod(turn_deg, 90)
    if rest == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    return math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))


def box_to_crop(box: CropBox, size: int) -> NDArray[np.float64]:
    """Affine map [2, 3] from px of the full picture to px of the size x size crop, centres at +0.5 in both."""
    scale = size / box.side
    cos, sin = _direction(box.turn_deg)
    return np.array(
        [
            [scale * cos, scale * sin, size / 2 - scale * (cos * box.center_x + sin * box.center_y)],
            [-scale * sin, scale * cos, size / 2 - scale * (cos * box.center_y - sin * box.center_x)],
        ]
    )


def cut_crop(image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
    """The crop [size, size, 3] of a uint8 picture [H, W, 3]; beyond the picture its border is repeated.

    Shrinking averages pixels instead of skipping some: blocks of whole pixels first, then what is left linearly.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1 px, got {size}")
    quarters, rest = divmod(box.turn_deg, 90)
    if rest == 0:
        crop = _cut_level(image, box, size)
        return np.ascontiguousarray(np.rot90(crop, int(quarters))) if quarters else crop
    cos, sin = _direction(box.turn_deg)
    around = math.ceil(size * (abs(cos) + abs(sin)))  # a level square that holds the turned one, at the crop's scale
    level = _cut_level(image, CropBox(box.center_x, box.center_y, box.side * around / size), around)
    to_level = np.array([[cos, -sin], [sin, cos]])
    shift = (around - 1) / 2 - to_level @ np.full(2, (size - 1) / 2)  # OpenCV: pixel centres at whole numbers
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(level, np.column_stack([to_level, shift]), (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _cut_level(image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
    factor = max(1, round(box.side / size))
    if factor > 1:
        image, box = _shrunk(image, box, factor)
    x_whole, x_part = _sample_places(box.center_x, box.side, size)
    y_whole, y_part = _sample_places(box.center_y, box.side, size)
    whole = np.empty((size, size, 2), np.int16)
    whole[..., 0], whole[..., 1] = x_whole, y_whole[:, None]
    parts = y_part.astype(np.uint16)[:, None] * np.uint16(_PARTS) + x_part.astype(np.uint16)
    return cv2.remap(image, whole, parts, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


_PARTS = cv2.INTER_TAB_SIZE
"""OpenCV's linear interpolation knows this many places between two pixels."""


def _sample_places(centre: float, side: float, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a crop's pixels [size] lie along one axis: whole pixels, and parts of a pixel beyond them."""
    at = centre + ((np.arange(size) + 0.5) / size - 0.5) * side - 0.5  # OpenCV: pixel centres at whole numbers
    return np.divmod(np.rint(at * _PARTS).astype(np.int64), _PARTS)


def _shrunk(image: NDArray[np.uint8], box: CropBox, factor: int) -> tuple[NDArray[np.uint8], CropBox]:
    """What the box shows of a picture, `factor` times smaller by averaging, and the box there."""
    starts, blocks = [], []
    for centre, length in ((box.center_y, image.shape[0]), (box.center_x, image.shape[1])):
        start = min(max(math.floor(centre - box.side / 2) - factor, 0), length - 1)
        stop = max(min(math.ceil(centre + box.side / 2) + factor, length), start + 1)
        starts.append(start)
        blocks.append(math.ceil((stop - start) / factor))
    (top, left), (rows, columns) = starts, blocks
    part = image[top : top + rows * factor, left : left + columns * factor]
    below, beside = rows * factor - part.shape[0], columns * factor - part.shape[1]
    if below or beside:  # the last block reaches beyond the picture
        part = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    small = part
    while small.shape[0] % (2 * rows) == 0 and small.shape[0] > rows:
        # by two again and again: OpenCV has a quick way for this alone
        small = cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if small.shape[0] > rows:
        small = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
    return small, CropBox((box.center_x - left) / factor, (box.center_y - top) / factor, box.side / factor)


def landmarks_to_crop(landmarks_px: NDArray[np.float32], box: CropBox, size: int) -> NDArray[np.float32]:
    """Landmarks [..., 2 or 3] of the full picture in px of its crop; z keeps the scale of x and y."""
    to_crop = box_to_crop(box, size)
    moved = landmarks_px * (size / box.side)
    if box.turn_deg:
        cos, sin = _direction(box.turn_deg)
        moved[..., :2] = moved[..., :2] @ np.array([[cos, -sin], [sin, cos]])
    moved[..., :2] += to_crop[:, 2]
    return moved.astype(np.float32)


def points_to_picture(points: NDArray[np.floating], box: CropBox, size: float) -> NDArray[np.float64]:
    """Points [..., 2] of the size x size crop in px of the full picture."""
    cos, sin = _direction(box.turn_deg)
    offsets = (np.asarray(points, np.float64) / size - 0.5) * box.side
    return offsets @ np.array([[cos, sin], [-sin, cos]]) + [box.center_x, box.center_y]


def with_depth(pixels: NDArray[np.float32], depths_m: NDArray[np.float32], focal_px: float) -> NDArray[np.float32]:
    """Known landmarks [..., 478, 3] px as the landmark network gives them: depth on the scale of x and y, 0 at its mean.

    pixels [..., 478, 2]; depths_m [..., 478] along the view.
    """
    middle = depths_m.mean(-1, keepdims=True)
    scaled = (depths_m - middle) * (focal_px / middle)
    return np.concatenate([pixels, scaled[..., None]], -1).astype(np.float32)


def inside_picture(box: CropBox, size: int, height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows [size] and columns [size] of the crop show the height x width picture, not its repeated border.

    Raises ValueError for a box that is turned by other than quarters: no rows and columns say it.
    """
    quarters, rest = divmod(box.turn_deg, 90)
    if rest:
        raise ValueError(f"turn_deg: expected quarter turns, got {box.turn_deg:g}")
    axis = (np.arange(size) + 0.5) / size - 0.5
    x, y = box.center_x + axis * box.side, box.center_y + axis * box.side
    rows, columns = (y >= 0) & (y <= height), (x >= 0) & (x <= width)
    for _ in range(int(quarters)):  # each turns the crop counter-clockwise: its right side becomes its upper edge
        rows, columns = columns[::-1], rows
    return rows, columns
