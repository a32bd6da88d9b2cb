"""Faces that lie on the side, stand on the head, or are small: found where they are, cut upright, never wrong without a word."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import pytest

from sheap.video.crops import (
    MAX_ROLL_DEG,
    CropBox,
    box_to_crop,
    crop_box,
    cut_crop,
    inside_picture,
    landmarks_to_crop,
    points_to_picture,
    turn_to_level,
)
from sheap.video.face_detector import FaceDetection
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.face_region import FaceLandmarks
from sheap.video.face_search import no_face, search_faces
from sheap.video.head_pose import fit_head_pose
from sheap.video.tracking import FaceTracker
from tests.video.made_videos import carphone_frames
from tests.video.test_head_crops import landmarks_of, rotation


@lru_cache(maxsize=1)
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


def turned(image: np.ndarray, clockwise_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The whole picture turned, and the map [2, 3] of its points."""
    height, width = image.shape[:2]
    size = math.ceil(math.hypot(height, width))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -clockwise_deg, 1.0)
    turn[:, 2] += [(size - width) / 2, (size - height) / 2]
    index = turn.copy()
    index[:, 2] += 0.5 * (turn[:, 0] + turn[:, 1]) - 0.5
    return cv2.warpAffine(image, index, (size, size), borderValue=(90, 90, 90)), turn


@pytest.mark.parametrize("degrees", [45, 90, 120, 180, 225, 270, 315])
def test_landmarks_lie_on_the_face_however_the_picture_is_turned(degrees):
    """Measured: at most 0.02 face heights; upside down the landmarks were upright and sure of it, half a face off."""
    for image in carphone_frames(2, step=40):
        (face,) = landmarker().process(image)
        picture, turn = turned(image, degrees)
        (again,) = landmarker().process(picture)
        expected = face.points[:, :2] @ turn[:, :2].T + turn[:, 2]
        error = np.linalg.norm(again.points[:, :2] - expected, axis=1).mean()
        assert error < 0.04 * np.ptp(face.points[:, 1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_gives_the_upright_pictures_crop(quarters):
    image = carphone_frames(1)[0]
    (face,), (again,) = (landmarker().process(np.ascontiguousarray(np.rot90(image, -k))) for k in (0, quarters))
    box, turned_box = crop_box(face.points), crop_box(again.points)
    assert (box.turn_deg, turned_box.turn_deg) == (0, 90 * quarters)
    assert turned_box.side == pytest.approx(box.side, rel=0.03)
    upright, same = cut_crop(image, box, 64), cut_crop(np.ascontiguousarray(np.rot90(image, -quarters)), turned_box, 64)
    assert np.abs(upright.astype(int) - same).mean() < 4


@pytest.mark.parametrize(("roll", "turn"), [(0, 0), (20, 0), (-24, 0), (40, 40), (-50, 310), (70, 90), (170, 180), (-100, 270)])
def test_the_turn_leaves_what_the_network_knows_and_takes_the_rest(roll, turn):
    assert turn_to_level(roll) == turn
    for yaw in (-50, 0, 50):
        pose = fit_head_pose(landmarks_of(rotation(yaw, 0, 0), 6.0, (0, 0)))
        assert pose.in_plane_deg() == pytest.approx(0, abs=1e-3)
    box = crop_box(landmarks_of(rotation(0, 0, roll), 6.0, (300, 200)))
    assert box.turn_deg == pytest.approx(turn, abs=1e-3)
    assert crop_box(landmarks_of(rotation(0, 0, roll), 6.0, (300, 200))).level().turn_deg == 0


@pytest.mark.parametrize("turn", [0.0, 37.0, 90.0, 145.0, 180.0, 270.0, 300.0])
def test_a_turned_crop_its_map_and_its_landmarks_agree(turn):
    """A blob's centroid lies where landmarks_to_crop says; and points come back. Measured: 0.05 crop pixels."""
    y, x = np.mgrid[:320, :400] + 0.5
    at = np.array([203.3, 151.7])
    blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 4.0**2))
    image = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, axis=2)
    box = CropBox(at[0] + 8, at[1] - 5, 90.0, turn)
    crop = cut_crop(image, box, 64)[..., 0].astype(float)
    v, u = np.mgrid[:64, :64] + 0.5
    centroid = np.array([(crop * u).sum(), (crop * v).sum()]) / crop.sum()
    (expected,) = landmarks_to_crop(np.array([[*at, 0]], np.float32), box, 64)[:, :2]
    assert np.linalg.norm(centroid - expected) < 0.12
    assert box_to_crop(box, 64) @ [*at, 1] == pytest.approx(expected, abs=1e-3)
    assert points_to_picture(expected, box, 64) == pytest.approx(at, abs=1e-3)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_what_lies_outside_turns_with_the_crop(quarters):
    inside = np.zeros((50, 70, 3), np.uint8) + 255
    padded = np.pad(inside, ((100, 100), (100, 100), (0, 0)))
    box, shifted = CropBox(10, 40, 40, 90.0 * quarters), CropBox(110, 140, 40, 90.0 * quarters)
    rows, columns = inside_picture(box, 40, 50, 70)
    shown = cut_crop(padded, shifted, 40)[..., 0] > 127
    assert ((rows[:, None] & columns) == shown).mean() > 0.97 and not shown.all() and shown.any()


def test_other_turns_have_no_rows_and_columns():
    with pytest.raises(ValueError, match="turn_deg: expected quarter turns, got 30"):
        inside_picture(CropBox(0, 0, 10, 30.0), 8, 20, 20)


@pytest.mark.parametrize(("height", "width", "face"), [(1500, 2000, 100), (2000, 1000, 75), (3000, 4000, 100)])
def test_a_small_face_is_found_in_a_large_picture(height, width, face):
    """As small as a fifteenth of the shorter side and less; before, it had to fill an eighth of the longer one."""
    head = cv2.resize(carphone_frames(1)[0], None, fx=face / 72, fy=face / 72, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 110, np.uint8)
    top, left = height // 2, width // 5
    canvas[top : top + head.shape[0], left : left + head.shape[1]] = head
    (found,) = landmarker().process(canvas)
    x, y = found.points[:, :2].mean(0)
    assert left < x < left + head.shape[1] and top < y < top + head.shape[0]
    (known,) = landmarker().process(head)
    assert np.ptp(found.points[:, 1]) == pytest.approx(np.ptp(known.points[:, 1]), rel=0.1)


class FalseAlarm:
    """Sees a face that is none in any picture of full width, and the real one in squares, if they are upright."""

    def __init__(self, width: int) -> None:
        self.width, self.views = width, 0

    def detect(self, image):
        self.views += 1
        is_whole = image.shape[1] == self.width
        box = np.array([0, 0, 20, 20] if is_whole else [30, 30, 60, 60], np.float32)
        return [FaceDetection(box, np.tile(box[:2], (6, 1)) + np.arange(12).reshape(6, 2) % 2, 0.95)]

    def landmarks(self, image, roi):
        points = np.zeros((478, 3), np.float32)
        points[:, 0] = np.linspace(roi.center_x - 15, roi.center_x + 15, 478)
        points[:, 1] = np.linspace(roi.center_y - 1, roi.center_y + 1, 478)
        return FaceLandmarks(points, 0.1 if roi.center_x < 20 else 0.99)


def test_a_false_detection_of_the_whole_picture_does_not_end_the_search():
    picture = np.zeros((300, 400, 3), np.uint8)
    assert search_faces(FalseAlarm(400), picture, closely=True)
    assert search_faces(FalseAlarm(400), picture, closely=False) == []
    assert set(FaceTracker(FalseAlarm(400)).update(picture)) != set()


def test_without_a_face_it_is_said_what_was_tried_and_what_would_help():
    picture = np.zeros((1000, 1500, 3), np.uint8)
    assert landmarker().process(picture) == []
    said = no_face(picture)
    for part in ("no face found", "1500 x 1000", "75%", "turned by 90, 180 and 270", "at least 30 px", "crop the picture"):
        assert part in said


def test_patterns_are_not_taken_for_small_faces():
    rng = np.random.default_rng(1)
    texture = cv2.resize(rng.integers(0, 255, (60, 80, 3)).astype(np.uint8), (480, 360), interpolation=cv2.INTER_CUBIC)
    assert landmarker().process(texture) == []
    assert MAX_ROLL_DEG < 45


@pytest.mark.parametrize(
    ("height", "width", "most"), [(1, 5000, 4), (5000, 1, 4), (40, 100_000, 4), (60, 40_000, 8000), (600, 800, 400)]
)
def test_a_strip_of_a_picture_is_not_searched_for_ever(height: int, width: int, most: int) -> None:
    """Before, 1 x 5000 px were looked at in squares of one pixel: 60,000 times."""

    class Counting:
        looks = 0

        def detect(self, image: np.ndarray) -> list[FaceDetection]:
            self.looks += 1
            assert 0 not in image.shape
            return []

        def landmarks(self, image: np.ndarray, roi: object) -> FaceLandmarks:
            raise AssertionError("nothing was found")

    models = Counting()
    assert search_faces(models, np.zeros((height, width, 3), np.uint8), closely=True) == []
    assert 4 <= models.looks <= most
    assert (models.looks == 4) == ("squares" not in no_face(np.zeros((height, width, 3), np.uint8)))
