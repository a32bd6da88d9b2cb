from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenedetect import ContentDetector, FrameTimecode

from sheap.video.face_detector import FaceDetection
from sheap.video.face_landmarker import FaceLandmarker, FaceLandmarks, FaceRoi, roi_from_landmarks
from sheap.video.shots import ShotDetector
from sheap.video.tracking import DETECT_EVERY, FaceTracker, search_faces
from tests.video.made_videos import carphone_frames, noise_frames

SIDE = 40.0


class Puppets:
    """Stands in for the landmarker: faces are where the test puts them."""

    def __init__(self) -> None:
        self.centres: list[tuple[float, float]] = []
        self.searches = 0

    def detect(self, image):
        self.searches += 1
        half = SIDE / 2
        boxes = [np.array([x - half, y - half, x + half, y + half], np.float32) for x, y in self.centres]
        return [FaceDetection(box, np.tile(box[:2], (6, 1)), 0.9) for box in boxes]

    def landmarks(self, image, roi: FaceRoi) -> FaceLandmarks:
        away = [np.hypot(x - roi.center_x, y - roi.center_y) for x, y in self.centres]
        points = np.zeros((478, 3), np.float32)
        if not away or min(away) > SIDE:
            return FaceLandmarks(points + 1, 0.1)
        x, y = self.centres[int(np.argmin(away))]
        points[:, 0] = np.linspace(x - SIDE / 2, x + SIDE / 2, 478)
        points[:, 1] = np.linspace(y - SIDE / 2, y + SIDE / 2, 478)
        return FaceLandmarks(points, 0.99)


PICTURE = np.zeros((200, 400, 3), np.uint8)


def test_two_people_keep_their_numbers_while_they_move():
    puppets = Puppets()
    tracker = FaceTracker(puppets)
    for step in range(12):
        puppets.centres = [(60 + 5 * step, 60), (300 - 5 * step, 140)]
        faces = tracker.update(PICTURE)
        assert set(faces) == {0, 1}
        assert faces[0].points[:, 0].mean() == pytest.approx(60 + 5 * step)
    assert puppets.searches <= 12 / DETECT_EVERY + 1


def test_a_jump_ends_the_track_and_starts_another():
    puppets = Puppets()
    tracker = FaceTracker(puppets)
    puppets.centres = [(60, 60)]
    assert set(tracker.update(PICTURE)) == {0}
    puppets.centres = [(95, 60)]  # within reach of the region, but a jump of most of a face
    assert set(tracker.update(PICTURE)) == {1}


def test_a_face_that_leaves_ends_and_comes_back_as_a_new_track():
    puppets = Puppets()
    tracker = FaceTracker(puppets)
    puppets.centres = [(60, 60)]
    tracker.update(PICTURE)
    puppets.centres = []
    assert tracker.update(PICTURE) == {}
    puppets.centres = [(60, 60)]
    assert set(tracker.update(PICTURE)) == {1}


def test_people_who_cross_are_never_merged_into_one():
    puppets = Puppets()
    tracker = FaceTracker(puppets)
    numbers = []
    for step in range(17):
        puppets.centres = [(100 + 10 * step, 100), (260 - 10 * step, 104)]
        numbers.append(set(tracker.update(PICTURE)))
    assert numbers[0] == {0, 1}
    # from where they overlap, neither old number is used again
    assert all(not seen & {0, 1} for seen in numbers[9:])
    assert len(numbers[-1]) == 2


def test_a_new_face_is_found_within_the_search_interval():
    puppets = Puppets()
    tracker = FaceTracker(puppets)
    puppets.centres = [(60, 60)]
    tracker.update(PICTURE)
    puppets.centres = [(60, 60), (300, 60)]
    found = [len(tracker.update(PICTURE)) for _ in range(DETECT_EVERY)]
    assert found[-1] == 2


def test_a_cut_forgets_everybody():
    puppets = Puppets()
    tracker = FaceTracker(puppets)
    puppets.centres = [(60, 60)]
    tracker.update(PICTURE)
    tracker.start_shot()
    assert set(tracker.update(PICTURE)) == {1}


def test_a_small_face_in_a_wide_picture_is_found_closely_only():
    landmarker = FaceLandmarker()
    wide = np.full((600, 1200, 3), 90, np.uint8)
    wide[300:444, 700:876] = carphone_frames(1)[0]
    assert search_faces(landmarker, wide, closely=False) == []
    found = search_faces(landmarker, wide, closely=True)
    assert found
    left, top, right, bottom = found[0].box
    assert 700 < left < right < 876 and 300 < top < bottom < 444


def test_a_real_face_is_one_track_and_landmarks_stay_on_it():
    landmarker = FaceLandmarker()
    tracker = FaceTracker(landmarker)
    for image in carphone_frames(6, step=4):
        faces = tracker.update(image)
        assert set(faces) == {0}
        (detected,) = landmarker.process(image)
        error = np.linalg.norm(faces[0].points[:, :2] - detected.points[:, :2], axis=1).mean()
        assert error < 0.02 * np.ptp(detected.points[:, 1])  # measured: at most 0.012


def test_a_face_that_has_moved_is_looked_at_where_it_is():
    """The same picture moved by a tenth of the face's region: its landmarks are those of before, moved."""
    frame = carphone_frames(1)[0]
    tracker = FaceTracker(FaceLandmarker())
    for _ in range(6):  # until the region rests on the face
        face = tracker.update(frame)[0]
    shift = round(0.12 * roi_from_landmarks(face.points).side)
    found = tracker.update(np.roll(frame, shift, axis=1))[0]
    eyes = np.linalg.norm(face.points[33, :2] - face.points[263, :2])
    apart = np.linalg.norm(found.points[:, :2] - face.points[:, :2] - [shift, 0], axis=1).mean() / eyes
    assert apart < 0.012  # 0.019 where the old region alone is looked at


def test_cuts_are_found_where_they_are_and_nowhere_else():
    talking, elsewhere = carphone_frames(12), noise_frames(6, 144, 176)
    shots = ShotDetector()
    cuts = [number for number, image in enumerate([*talking, *elsewhere, *talking[:6]]) if shots.is_cut(image)]
    assert cuts == [12, 18]


@pytest.mark.parametrize("threshold", [3.5, 4.5, 5.2, 27.0])
def test_cuts_are_those_of_pyscenedetect(threshold):
    """Low thresholds too: there ordinary motion is a cut or none, frame by frame."""
    talking = carphone_frames(30)
    frames = [*talking[:20], *noise_frames(3, 144, 176), *talking[20:], *(image // 2 for image in talking[:5])]
    shots = ShotDetector(threshold)
    detector = ContentDetector(threshold=threshold, min_scene_len=0)
    expected = []
    for number, image in enumerate(frames):
        thumbnail = cv2.resize(image, (80, 60), interpolation=cv2.INTER_LINEAR)
        cuts = detector.process_frame(FrameTimecode(number, fps=25.0), cv2.cvtColor(thumbnail, cv2.COLOR_RGB2BGR))
        expected.append(number > 0 and bool(cuts))
    assert [shots.is_cut(image) for image in frames] == expected
    assert 3 <= sum(expected) < len(frames) - 1


def test_another_picture_size_is_another_shot():
    shots = ShotDetector()
    assert [shots.is_cut(np.full(shape, 9, np.uint8)) for shape in ((20, 30, 3), (20, 30, 3), (30, 20, 3))] == [
        False,
        False,
        True,
    ]


def test_black_and_flickering_frames_do_not_crash():
    shots = ShotDetector()
    black, white = np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8)
    assert [shots.is_cut(image) for image in (black, black, white, black)] == [False, False, True, True]
