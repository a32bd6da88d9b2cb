from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap.video.crops import crop_box, cut_crop, inside_picture, landmarks_to_crop
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.foreground import above_neck, head_mask, load_mask_backend
from sheap.video.grabcut_mask import GrabCutMask
from sheap.video.quality import sharpness
from sheap.video.selfie_mask import SelfieMask, find_segmenter
from tests.stage_settings import frame_filter
from tests.video.made_videos import carphone_frames

IMAGES = Path(__file__).parents[2].parent / "shared" / "images"
SIZE = 128


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


@pytest.fixture(scope="module")
def selfie() -> SelfieMask:
    try:
        return SelfieMask(find_segmenter())
    except FileNotFoundError as error:
        pytest.skip(str(error))


def head_crop(landmarker: FaceLandmarker, image: np.ndarray):
    (face,) = landmarker.process(image)
    box = crop_box(face.points)
    rows, columns = inside_picture(box, SIZE, *image.shape[:2])
    return cut_crop(image, box, SIZE), landmarks_to_crop(face.points, box, SIZE), rows[:, None] & columns


def overlap_of(a: np.ndarray, b: np.ndarray) -> float:
    return ((a > 127) & (b > 127)).sum() / ((a > 127) | (b > 127)).sum()


@pytest.mark.parametrize("backend", ["selfie", "grabcut"])
def test_the_face_is_foreground_and_the_corners_are_not(landmarker, backend, request):
    segmenter = request.getfixturevalue("selfie") if backend == "selfie" else GrabCutMask()
    crop, landmarks, inside = head_crop(landmarker, carphone_frames(1)[0])
    mask = head_mask(segmenter, crop, landmarks, inside)
    assert mask.shape == (SIZE, SIZE) and mask.dtype == np.uint8
    hull = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.ascontiguousarray(landmarks[:468, :2])).astype(np.int32), 1)
    assert (mask[hull > 0] > 127).mean() > 0.97
    assert mask[:12, :12].max() < 128 and mask[:12, -12:].max() < 128
    assert 0.2 < (mask > 127).mean() < 0.6


def test_the_fallback_agrees_with_the_segmenter_on_real_people(landmarker, selfie):
    """Measured intersection over union on these three portraits and Carphone: at least 0.72."""
    pictures = [carphone_frames(1)[0]]
    for name in ("source_s6.jpg", "source_s12.jpg", "source_s3.jpg"):
        if (IMAGES / name).exists():
            pictures.append(cv2.cvtColor(cv2.imread(str(IMAGES / name)), cv2.COLOR_BGR2RGB))
    for picture in pictures:
        crop, landmarks, inside = head_crop(landmarker, picture)
        one, other = (head_mask(backend, crop, landmarks, inside) for backend in (selfie, GrabCutMask()))
        assert overlap_of(one, other) > 0.65


def test_grabcut_follows_its_own_mask_and_repeats_itself(landmarker):
    backend = GrabCutMask()
    crop, landmarks, inside = head_crop(landmarker, carphone_frames(1)[0])
    first = head_mask(backend, crop, landmarks, inside)
    assert np.array_equal(first, head_mask(backend, crop, landmarks, inside))
    second = head_mask(backend, crop, landmarks, inside, first)
    assert overlap_of(first, second) > 0.85


def test_grabcut_survives_flat_pictures(landmarker):
    _, landmarks, inside = head_crop(landmarker, carphone_frames(1)[0])
    flat = np.full((SIZE, SIZE, 3), 80, np.uint8)
    assert head_mask(GrabCutMask(), flat, landmarks, inside).shape == (SIZE, SIZE)


def test_shoulders_are_cut_off_across_the_heads_own_axis(landmarker):
    _, landmarks, _ = head_crop(landmarker, carphone_frames(1)[0])
    keep = above_neck(landmarks, SIZE)
    chin_x, chin_y = landmarks[152, :2]
    assert keep[int(chin_y), int(chin_x)] and keep[0].all()
    below = min(SIZE - 1, int(chin_y) + 12)
    assert not keep[below, int(chin_x)] or below == SIZE - 1
    # upside down, the neck is at the top
    turned = landmarks * [-1, -1, 1] + [SIZE, SIZE, 0]
    assert np.array_equal(above_neck(turned.astype(np.float32), SIZE), keep[::-1, ::-1])


def test_what_lies_beyond_the_picture_is_never_foreground(landmarker, selfie):
    crop, landmarks, inside = head_crop(landmarker, carphone_frames(1)[0])
    inside = inside.copy()
    inside[:, :70] = False
    assert head_mask(selfie, crop, landmarks, inside)[:, :70].max() == 0


def test_islands_apart_from_the_face_are_dropped(landmarker):
    class Blobs:
        name = "blobs"

        def person(self, crop, landmarks_px, previous):
            mask = np.zeros(crop.shape[:2], np.uint8)
            cv2.circle(mask, (int(landmarks_px[4, 0]), int(landmarks_px[4, 1])), 30, 200, -1)
            mask[2:10, 2:10] = 255
            return mask

    crop, landmarks, inside = head_crop(landmarker, carphone_frames(1)[0])
    mask = head_mask(Blobs(), crop, landmarks, inside)
    assert mask[int(landmarks[4, 1]), int(landmarks[4, 0])] == 200
    assert mask[:12, :12].max() == 0


def test_the_named_backend_is_what_comes(tmp_path, selfie):
    assert load_mask_backend("grabcut").name == "grabcut"
    assert load_mask_backend("auto").name == load_mask_backend("selfie").name == "selfie"
    with pytest.raises(FileNotFoundError, match=r"none\.tflite"):
        load_mask_backend("auto", tmp_path / "none.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"bad\.tflite"):
        load_mask_backend("selfie", tmp_path / "bad.tflite")


def test_without_the_model_auto_falls_back_and_selfie_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("sheap.video.selfie_mask._PACKAGE", "no_such_package_here")
    assert load_mask_backend("auto").name == "grabcut"
    with pytest.raises(FileNotFoundError, match="pip install"):
        load_mask_backend("selfie")


def test_sharpness_falls_with_blur_and_enlargement(landmarker):
    crop, landmarks, _ = head_crop(landmarker, carphone_frames(1)[0])
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma), landmarks) for sigma in (0.3, 1.0, 2.0, 4.0)]
    assert values == sorted(values, reverse=True) and values[0] > 3 * values[-1]
    small = cv2.resize(cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    assert sharpness(small, landmarks) < 0.7 * values[0]
    assert sharpness(np.zeros_like(crop), landmarks) == 0


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        ({}, None),
        ({"presence": 0.4}, "doubtful_landmarks"),
        ({"head_px": 63}, "small_head"),
        ({"pose_deg": (-80.0, 0.0, 0.0)}, "turned_away"),
        ({"pose_deg": (0.0, 55.0, 0.0)}, "turned_away"),
        ({"pose_deg": (0.0, 0.0, 120.0)}, None),
        ({"outside": 0.5}, "outside_picture"),
        ({"sharpness": 0.01}, "blurred"),
    ],
)
def test_every_threshold_has_its_reason(measure, reason):
    good = {"head_px": 200.0, "sharpness": 0.2, "presence": 0.99, "pose_deg": (10.0, -5.0, 3.0), "outside": 0.1}
    assert frame_filter(min_sharpness=0.05).reason_to_drop(**(good | measure)) == reason
