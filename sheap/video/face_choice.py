"""Which of the faces found in a picture is meant, where someone says where it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from sheap.video.face_landmarker import FaceLandmarks


class FaceFinder(Protocol):
    """Finds faces with landmarks: sheap.video.face_landmarker.FaceLandmarker is one."""

    def process(self, image: NDArray[np.uint8]) -> list[FaceLandmarks]: ...


Sides = tuple[float, float, float, float]
"""left, top, right, bottom, px."""

BoxFormat = Literal["ltrb", "xywh", "relative-ltrb", "relative-xywh"]
"""How four numbers say where a face is: left, top, right, bottom, or left, top, width, height; in px, or (relative) in shares of
the picture's width and height. It is said, never guessed: many boxes make sense in more than one way."""

BOX_FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)


def box_sides(box: Sequence[float], box_format: BoxFormat, height: int, width: int) -> Sides:
    """A box of a height x width picture as left, top, right, bottom, px.

    Raises ValueError naming `face_box` when it is not four finite numbers, is empty or reversed, is not of its format, or lies
    outside of the picture.
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(f"box_format: unknown '{box_format}' (known: {', '.join(BOX_FORMATS)})")
    try:
        if isinstance(box, str | bytes):
            raise TypeError
        numbers = [float(value) for value in box]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"face_box: expected four numbers, got {box!r}") from None
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise ValueError(f"face_box: expected four finite numbers, got {_shown(numbers)}")
    left, top, right, bottom = numbers
    if box_format.endswith("xywh"):
        right, bottom = left + right, top + bottom
    if box_format.startswith("relative"):
        if max(map(abs, (left, top, right, bottom))) > 2:
            raise ValueError(f"face_box: {_shown(numbers)} are no shares of the picture ('{box_format}'); are they pixels?")
        left, top, right, bottom = left * width, top * height, right * width, bottom * height
    if right <= left or bottom <= top:
        hint = "" if box_format.endswith("xywh") else "; is it left, top, width, height ('xywh')?"
        raise ValueError(f"face_box: {_shown(numbers)} as '{box_format}' holds nothing{hint}")
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise ValueError(f"face_box: {_shown(numbers)} as '{box_format}' lies outside of the picture of {width} x {height} px")
    return left, top, right, bottom


def meant_face(faces: Sequence[FaceLandmarks], box: Sides | None) -> FaceLandmarks | None:
    """The face whose landmarks overlap `box` most, without a box the surest; None when there is none such.

    A face that the box only touches is another person's: its middle lies in the box, or the box's middle in it.
    """
    if not faces or box is None:
        return faces[0] if faces else None
    overlaps = [box_overlap(face.points, box) if is_met(face.points, box) else 0.0 for face in faces]
    return faces[int(np.argmax(overlaps))] if max(overlaps) > 0 else None


def faces_around(finder: FaceFinder, image: NDArray[np.uint8], box: Sides) -> list[FaceLandmarks]:
    """Faces found in and around a box of a uint8 RGB picture [H, W, 3], in its px: a search of the whole ends with the larger
    faces of a group."""
    height, width = image.shape[:2]
    reach = _REACH * max(box[2] - box[0], box[3] - box[1])
    left, top = (max(0, math.floor(side - reach)) for side in box[:2])
    right, bottom = min(width, math.ceil(box[2] + reach)), min(height, math.ceil(box[3] + reach))
    if right <= left or bottom <= top:
        return []
    shift = np.array([left, top, 0], np.float32)
    part = np.ascontiguousarray(image[top:bottom, left:right])
    return [replace(face, points=face.points + shift) for face in finder.process(part)]


_REACH = 1.0
"""How far beyond the box, in its longer sides: the detector knows faces with what is around them."""


def no_meant_face(faces: Sequence[FaceLandmarks], box: Sequence[float] | None, box_format: BoxFormat) -> str:
    """What to tell a person whose box meets none of the faces found."""
    places = "; ".join(_shown(np.concatenate([_low(face.points), _high(face.points)])) for face in faces[:4])
    return f"{_shown(box or ())} as '{box_format}' meets no face; found (left, top, right, bottom, px): {places}"


def is_met(points: NDArray[np.floating], box: Sides) -> bool:
    """Whether the face's middle lies in the box, or the box's middle among the face's landmarks [P, 2 or 3] px."""
    low, high = _low(points), _high(points)
    start, stop = np.array(box[:2]), np.array(box[2:])
    middle, middle_of_box = (low + high) / 2, (start + stop) / 2
    return bool(((middle >= start) & (middle <= stop)).all() or ((middle_of_box >= low) & (middle_of_box <= high)).all())


def box_overlap(points: NDArray[np.floating], box: Sides) -> float:
    """Intersection over union of `box` and the bounding box of points [P, 2 or 3] px."""
    low, high = _low(points), _high(points)
    left, top, right, bottom = box
    width, height = min(high[0], right) - max(low[0], left), min(high[1], bottom) - max(low[1], top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    union = (high[0] - low[0]) * (high[1] - low[1]) + (right - left) * (bottom - top) - shared
    return float(shared / union)


def _low(points: NDArray[np.floating]) -> NDArray[np.floating]:
    return points[:, :2].min(axis=0)


def _high(points: NDArray[np.floating]) -> NDArray[np.floating]:
    return points[:, :2].max(axis=0)


def _shown(numbers: Sequence[float] | NDArray[np.floating]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in numbers) + ")"
