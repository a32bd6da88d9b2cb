from __future__ import annotations

import cv2
import numpy as np
import pytest

from sheap.video.crops import crop_box, cut_crop, landmarks_to_crop
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.foreground import head_mask, load_mask_backend
from sheap.video.mask_sequence import MaskSequence
from tests.video.made_videos import carphone_frames

SIZE = 96
EVERYWHERE = np.ones(SIZE, bool)


class Discs:
    """A segmenter that marks a disc around the nose and counts how often it is asked."""

    name = "discs"

    def __init__(self) -> None:
        self.asked = 0
        self.previous: list[bool] = []

    def person(self, crop, landmarks_px, previous):
        self.asked += 1
        self.previous.append(previous is not None)
        mask = np.zeros(crop.shape[:2], np.uint8)
        cv2.circle(mask, (round(float(landmarks_px[4, 0])), round(float(landmarks_px[4, 1]))), 20, 255, -1)
        return mask


@pytest.fixture(scope="module")
def talking():
    """Crops and landmarks of Carphone, a quarter of a second apart at most."""
    landmarker = FaceLandmarker()
    frames = []
    for image in carphone_frames(9):
        (face,) = landmarker.process(image)
        box = crop_box(face.points)
        frames.append((cut_crop(image, box, SIZE), landmarks_to_crop(face.points, box, SIZE)))
    return frames


def masks_of(backend, frames, every_s: float, inside=(EVERYWHERE, EVERYWHERE)) -> list[np.ndarray]:
    sequence = MaskSequence(backend, every_s)
    for number, (crop, landmarks) in enumerate(frames):
        sequence.add(crop, landmarks, inside, 0.04 * number)
    return sequence.finish()


@pytest.mark.parametrize(("every_s", "asked"), [(0.0, 9), (0.04, 9), (0.08, 5), (0.16, 3), (0.2, 3), (1.0, 2)])
def test_key_frames_come_by_time_and_at_both_ends(talking, every_s, asked):
    backend = Discs()
    masks = masks_of(backend, talking, every_s)
    assert len(masks) == 9 and backend.asked == asked
    assert backend.previous == [False] + [True] * (asked - 1)


def test_a_moved_head_takes_its_mask_along(talking):
    """A face that runs by 2 px a frame: the carried disc stays on the nose to a third of a pixel."""
    crop, landmarks = talking[0]
    frames = [(crop, landmarks + np.array([2 * n - 8, 0, 0], np.float32)) for n in range(9)]
    for (_, points), mask in zip(frames, masks_of(Discs(), frames, 0.16), strict=True):
        ys, xs = np.nonzero(mask > 127)
        assert abs(xs.mean() + 0.5 - points[4, 0]) < 1 and abs(ys.mean() + 0.5 - points[4, 1]) < 1


def test_carried_masks_agree_with_the_segmenters_own(talking):
    """Measured on these frames: intersection over union of at least 0.97."""
    try:
        backend = load_mask_backend("selfie")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    inside = np.ones((SIZE, SIZE), bool)
    for (crop, landmarks), mask in zip(talking, masks_of(backend, talking, 0.16), strict=True):
        own = head_mask(backend, crop, landmarks, inside)
        assert ((mask > 127) & (own > 127)).sum() / ((mask > 127) | (own > 127)).sum() > 0.94


def test_nothing_beyond_the_picture_is_foreground_in_any_frame(talking):
    columns = EVERYWHERE.copy()
    columns[:50] = False
    for mask in masks_of(Discs(), talking, 0.16, (EVERYWHERE, columns)):
        assert mask[:, :50].max() == 0 and mask[:, 50:].max() == 255


def test_no_frames_no_masks():
    assert MaskSequence(Discs(), 0.16).finish() == []
