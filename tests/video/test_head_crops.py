from __future__ import annotations

import math

import numpy as np
import pytest

from sheap.video.crops import (
    CROP_RISE_CM,
    CROP_SIDE_CM,
    CropBox,
    box_to_crop,
    crop_box,
    cut_crop,
    inside_picture,
    landmarks_to_crop,
)
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.head_pose import (
    _CANONICAL_CM,
    HEAD_ORIGIN_CM,
    RIGID_LANDMARKS,
    fit_head_pose,
)
from sheap.video.smoothing import smooth_at
from tests.video.made_videos import carphone_frames


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """Head axes to viewer axes (x right, y up, z towards the viewer); yaw to the person's left, roll clockwise."""
    y, p, r = (math.radians(v) for v in (yaw_deg, -pitch_deg, -roll_deg))
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def landmarks_of(turn: np.ndarray, px_per_cm: float, at: tuple[float, float]) -> np.ndarray:
    """Landmarks [478, 3] whose rigid ones show a turned canonical face with the head's origin at a pixel."""
    points = np.full((478, 3), 0.0, np.float32)
    seen = px_per_cm * ((_CANONICAL_CM - HEAD_ORIGIN_CM) @ turn.T) * [1, -1, -1] + [*at, 0]
    points[:] = seen.mean(0)
    points[RIGID_LANDMARKS] = seen
    return points


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 0, 0), (-70, 0, 0), (0, 25, 0), (0, 0, 30), (30, -20, -15)])
def test_the_pose_of_a_turned_face_is_recovered(angles):
    pose = fit_head_pose(landmarks_of(rotation(*angles), 7.5, (120, 80)))
    assert np.allclose(pose.rotation, rotation(*angles), atol=1e-5)
    assert pose.px_per_cm == pytest.approx(7.5, rel=1e-5)
    assert pose.project(HEAD_ORIGIN_CM) == pytest.approx([120, 80], abs=1e-3)
    if sum(a != 0 for a in angles) <= 1:
        assert pose.euler_deg() == pytest.approx(angles, abs=1e-3)


def test_the_box_holds_the_head_at_every_turn():
    for yaw in (-60, 0, 60):
        box = crop_box(landmarks_of(rotation(yaw, 10, 0), 8.0, (200, 150)))
        assert box.side == pytest.approx(8.0 * CROP_SIDE_CM, rel=1e-5)
        assert (box.center_x, box.center_y) == pytest.approx((200, 150 - CROP_RISE_CM * 8), abs=1e-2)


@pytest.mark.parametrize("place", [0.0, 311.7, np.nan, np.inf])
def test_landmarks_without_extent_are_refused(place):
    with pytest.raises(ValueError, match="span no face"):
        crop_box(np.full((478, 3), place, np.float32))


def test_a_box_maps_its_corners_to_the_crops():
    box = CropBox(100.0, 50.0, 40.0)
    assert box_to_crop(box, 20) @ [80, 30, 1] == pytest.approx([0, 0])
    assert box_to_crop(box, 20) @ [120, 70, 1] == pytest.approx([20, 20])
    points = np.array([[100, 50, 8], [110, 45, -4]], np.float32)
    assert landmarks_to_crop(points, box, 20) == pytest.approx(np.array([[10, 10, 4], [15, 7.5, -2]]))


@pytest.mark.parametrize(("side", "size"), [(64.0, 64), (90.5, 64), (40.0, 64), (300.0, 48)])
def test_the_crop_shows_what_the_landmarks_say(side, size):
    """A blob's centroid stays on its landmark. Measured: 0.03 crop pixels at most, whether enlarged or shrunk."""
    height, width = 320, 400
    y, x = np.mgrid[:height, :width] + 0.5
    at = np.array([203.3, 151.7])
    blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (side / 16) ** 2))
    image = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, axis=2)
    box = CropBox(at[0] + 0.13 * side, at[1] - 0.08 * side, side)
    crop = cut_crop(image, box, size)[..., 0].astype(float)
    v, u = np.mgrid[:size, :size] + 0.5
    centroid = np.array([(crop * u).sum(), (crop * v).sum()]) / crop.sum()
    (expected,) = landmarks_to_crop(np.array([[*at, 0]], np.float32), box, size)[:, :2]
    assert np.linalg.norm(centroid - expected) < 0.06


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = cut_crop(stripes, CropBox(128, 128, 256), 32)
    assert abs(float(crop.mean()) - 127.5) < 2 and crop.std() < 2


def test_the_border_is_repeated_and_known():
    image = np.full((40, 40, 3), 77, np.uint8)
    box = CropBox(0, 20, 40)
    assert (cut_crop(image, box, 20) == 77).all()
    rows, columns = inside_picture(box, 20, 40, 40)
    assert rows.all() and columns[10:].all() and not columns[:10].any()


def test_a_real_head_lies_inside_its_crop():
    """Carphone, mouth shut and wide open: measured, all landmarks lie between 0.27 and 0.93 of the crop's side."""
    landmarker = FaceLandmarker()
    for image in carphone_frames(3, step=30):
        (face,) = landmarker.process(image)
        crop = landmarks_to_crop(face.points, crop_box(face.points), 100)
        assert crop[:, :2].min() > 20 and crop[:, :2].max() < 95
        assert 38 < np.linalg.norm(crop[152, :2] - crop[9, :2]) < 60


def smooth(times, values, sigma):
    return np.stack([smooth_at(times, values, at, sigma) for at in range(len(times))])


def test_a_steady_motion_is_left_where_it_is():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.08, 40))
    values = np.stack([3 + 5 * times, 7 - 2 * times], axis=1)
    assert np.allclose(smooth(times, values, 0.12), values, atol=1e-9)


def test_jitter_shrinks_without_lag():
    rng = np.random.default_rng(1)
    times = np.arange(200) * 0.04
    truth = np.sin(times)[:, None]
    noisy = truth + rng.normal(0, 0.1, truth.shape)
    smoothed = smooth(times, noisy, 0.15)
    assert np.abs(smoothed - truth).std() < 0.45 * 0.1
    lags = [np.abs(smoothed[5 + lag : 190 + lag] - truth[5:190]).mean() for lag in (-3, -2, -1, 0, 1, 2, 3)]
    assert int(np.argmin(lags)) == 3


def test_reversing_time_reverses_the_result():
    times = np.arange(30) * 0.04
    values = np.random.default_rng(2).normal(size=(30, 3))
    assert np.allclose(smooth(times, values, 0.1), smooth(-times[::-1], values[::-1], 0.1)[::-1])


def test_no_smoothing_and_a_single_frame():
    values = np.array([[1.0, 2.0], [5.0, 6.0]])
    assert np.array_equal(smooth_at(np.array([0, 1.0]), values, 0, 0.0), values[0])
    assert np.array_equal(smooth_at(np.array([0.0]), values[:1], 0, 0.2), values[0])
