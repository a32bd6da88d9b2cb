"""Which face a box means: four finite numbers of a stated format that meet a face, or an error in words."""

from __future__ import annotations

import numpy as np
import pytest

from sheap.video.face_choice import BoxFormat, box_sides, meant_face, no_meant_face
from sheap.video.face_landmarker import FaceLandmarks


def face(left: float, top: float, right: float, bottom: float) -> FaceLandmarks:
    """Landmarks that fill a box."""
    points = np.random.default_rng(0).uniform((left, top, 0), (right, bottom, 1), (478, 3)).astype(np.float32)
    points[0, :2], points[1, :2] = (left, top), (right, bottom)
    return FaceLandmarks(points, 0.9)


@pytest.mark.parametrize(
    ("box", "box_format"),
    [
        ((20, 10, 60, 70), "ltrb"),
        ((20, 10, 40, 60), "xywh"),
        ((0.1, 0.1, 0.3, 0.7), "relative-ltrb"),
        ((0.1, 0.1, 0.2, 0.6), "relative-xywh"),
    ],
)
def test_every_format_says_the_same(box: tuple, box_format: BoxFormat) -> None:
    assert box_sides(box, box_format, 100, 200) == pytest.approx((20, 10, 60, 70))
    assert box_sides(np.array(box), box_format, 100, 200) == pytest.approx((20, 10, 60, 70))


@pytest.mark.parametrize(
    ("box", "box_format", "message"),
    [
        ((1, 2, 3), "ltrb", "expected four finite numbers, got .1, 2, 3."),
        ((1, 2, 3, 4, 5), "ltrb", "expected four finite numbers"),
        ((), "ltrb", "expected four finite numbers"),
        ((1, 2, float("nan"), 4), "ltrb", "expected four finite numbers"),
        ((1, 2, float("inf"), 4), "xywh", "expected four finite numbers"),
        (("a", 2, 3, 4), "ltrb", "expected four numbers"),
        (7, "ltrb", "expected four numbers"),
        ((50, 50, 20, 20), "ltrb", r"holds nothing; is it left, top, width, height \('xywh'\)"),
        ((5, 5, 5, 5), "ltrb", "holds nothing"),
        ((5, 5, 0, 9), "xywh", "holds nothing"),
        ((5, 5, 9, -1), "xywh", "holds nothing"),
        ((300, 5, 400, 50), "ltrb", "lies outside of the picture of 200 x 100 px"),
        ((-50, 5, 40, 50), "xywh", "lies outside"),
        ((20, 10, 60, 70), "relative-ltrb", "are no shares of the picture .* pixels"),
        ((1, 2, 3, 4), "yolo", "box_format: unknown 'yolo'"),
    ],
)
def test_what_is_no_box_is_refused(box, box_format, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        box_sides(box, box_format, 100, 200)


def test_a_box_that_reaches_beyond_the_picture_is_fine() -> None:
    assert box_sides((-10, -10, 60, 70), "ltrb", 100, 200) == (-10, -10, 60, 70)


def test_a_face_that_is_only_touched_is_another_persons() -> None:
    faces = [face(0, 0, 40, 50), face(100, 0, 140, 50)]
    assert meant_face(faces, None) is faces[0]
    assert meant_face(faces, (95, -5, 150, 60)) is faces[1]
    assert meant_face(faces, (110, 20, 120, 30)) is faces[1], "a nose is enough"
    assert meant_face(faces, (0, 0, 200, 100)) is not None, "all of the picture"
    assert meant_face(faces, (35, 10, 75, 60)) is None, "a third person, whom nobody found, beside the first"
    assert meant_face(faces, (60, 60, 90, 90)) is None
    assert "meets no face; found (left, top, right, bottom, px): (0, 0, 40, 50); (100, 0, 140, 50)" in no_meant_face(
        faces, (60, 60, 90, 90), "ltrb"
    )
