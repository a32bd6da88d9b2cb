from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap.video.face_detector import anchor_centres, decode, merge_overlapping, overlap
from sheap.video.face_landmarker import (
    FaceLandmarker,
    FaceRoi,
    roi_from_detection,
    roi_from_landmarks,
    roi_to_image,
    warp_patch,
)
from sheap.video.face_models import find_bundle

IMAGES = Path(__file__).parents[2].parent / "shared" / "images"


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


def read_portrait(name: str) -> np.ndarray:
    path = IMAGES / name
    if not path.exists():
        pytest.skip(f"{path} is absent: real pictures are not part of the project")
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_anchors_cover_the_square_on_both_grids():
    centres = anchor_centres()
    assert centres.shape == (896, 2)
    assert np.allclose(centres[0], 0.5 / 16) and np.allclose(centres[1], 0.5 / 16)
    assert np.allclose(centres[2], [1.5 / 16, 0.5 / 16])  # x runs fastest
    assert np.allclose(centres[512], 0.5 / 8) and np.allclose(centres[-1], 7.5 / 8)


def test_decoding_adds_pixel_offsets_to_the_anchor():
    regressors = np.zeros((896, 16), np.float32)
    regressors[512, :6] = [12.8, -6.4, 64, 32, 12.8, 0]
    logits = np.full(896, -200, np.float32)
    logits[512] = 3
    scores, boxes, keypoints = decode(logits, regressors, anchor_centres())
    assert scores == pytest.approx([1 / (1 + math.exp(-3))])
    centre_x, centre_y = 0.0625 + 0.1, 0.0625 - 0.05
    assert boxes[0] == pytest.approx([centre_x - 0.25, centre_y - 0.125, centre_x + 0.25, centre_y + 0.125])
    assert keypoints[0, 0] == pytest.approx([0.0625 + 0.1, 0.0625])


def test_overlapping_candidates_are_averaged_by_score_and_distant_ones_kept():
    scores = np.array([0.6, 0.9, 0.8], np.float32)
    boxes = np.array([[0, 0, 1, 1], [0.1, 0, 1.1, 1], [5, 5, 6, 6]], np.float32)
    faces = merge_overlapping(scores, boxes, np.zeros((3, 6, 2), np.float32))
    assert [f[0] for f in faces] == pytest.approx([0.9, 0.8])
    assert faces[0][1] == pytest.approx([0.06, 0, 1.06, 1])
    assert faces[1][1] == pytest.approx([5, 5, 6, 6])
    assert overlap(boxes[0], boxes) == pytest.approx([1, 0.9 / 1.1, 0])


def test_a_region_maps_its_corners_and_samples_pixel_centres():
    roi = FaceRoi(40.0, 30.0, 20.0, math.pi / 2)
    to_image = roi_to_image(roi, 10)
    # a quarter turn clockwise on the screen: the patch's first pixel centre lies at the region's top right corner
    # (half a pixel on: the corner of pixel (49, 20) is its centre's +0.5)
    assert to_image @ [0.5, 0.5, 1] == pytest.approx([50.5, 20.5])
    assert to_image @ [9.5, 0.5, 1] == pytest.approx([50.5, 38.5])
    ramp = np.zeros((60, 80, 3), np.uint8)
    ramp[..., 0] = np.arange(80) * 2  # at pixel centre x the value is 2 (x - 0.5)
    ramp[..., 1] = np.arange(60)[:, None] * 3
    patch = warp_patch(ramp, to_image, 10)
    for u, v in ((2, 3), (7, 1)):
        x, y = to_image @ [u + 0.5, v + 0.5, 1]
        assert patch[v, u, 0] == pytest.approx(2 * (x - 0.5), abs=1)
        assert patch[v, u, 1] == pytest.approx(3 * (y - 0.5), abs=1)


def test_a_missing_or_broken_bundle_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.task"):
        find_bundle(tmp_path / "nowhere.task")
    broken = tmp_path / "broken.task"
    broken.write_text("not a zip")
    with pytest.raises(ValueError, match=r"broken\.task"):
        FaceLandmarker(broken)


def test_a_picture_of_the_wrong_kind_is_refused(landmarker):
    for image in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8 RGB"):
            landmarker.detect(image)


def test_nothing_is_found_in_noise(landmarker):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    assert landmarker.process(noise) == []


def test_landmarks_follow_a_turned_and_shifted_portrait(landmarker):
    """Turning the picture turns the landmarks: measured 0.0067 face heights on average at 30 degrees."""
    image = read_portrait("source_s3.jpg")
    (face,) = landmarker.process(image)
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 30, 1.0)
    turn[:, 2] += [13.0, -21.0]
    turned = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    (again,) = landmarker.process(turned)
    expected = face.points[:, :2] @ turn[:, :2].T + turn[:, 2]
    face_height = np.ptp(face.points[:, 1])
    error = np.linalg.norm(again.points[:, :2] - expected, axis=1) / face_height
    assert error.mean() < 0.012
    # the right eye is on the picture's left, above the mouth
    assert face.points[33, 0] < face.points[263, 0]
    assert face.points[33, 1] < face.points[13, 1] < face.points[152, 1]


def test_tracking_from_landmarks_agrees_with_detection(landmarker):
    image = read_portrait("source_s1.jpg")
    (detection,) = landmarker.detect(image)
    detected = landmarker.landmarks(image, roi_from_detection(detection))
    tracked = landmarker.landmarks(image, roi_from_landmarks(detected.points))
    error = np.linalg.norm(tracked.points[:, :2] - detected.points[:, :2], axis=1) / np.ptp(detected.points[:, 1])
    assert tracked.presence > 0.9
    assert error.mean() < 0.015


def test_an_animal_is_not_a_face(landmarker):
    assert landmarker.process(read_portrait("source_s23.jpg")) == []
    assert landmarker.process(read_portrait("source_s38.jpg")) == []
