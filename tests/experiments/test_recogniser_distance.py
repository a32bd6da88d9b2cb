from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from experiments import recogniser_distance
from experiments.recogniser_distance import CROP_SIZE, crop, distances, mean_figures, real_people
from sheap.networks.face_descriptor import CHIP_LANDMARKS, CHIP_SIZE, FaceDescriptor


def test_distances_are_of_pairs_within_and_between_people():
    axes = np.eye(4, dtype=np.float32)
    people = [np.stack([axes[0], axes[0] + 0.3 * axes[3]]), np.stack([axes[1]]), np.stack([axes[0] + 0.5 * axes[2]])]
    found = distances(people)
    assert found["people"] == 3 and found["same_person"] == pytest.approx(0.3)
    assert found["others"] == pytest.approx((np.sqrt(2) + 0.5 + 1.5) / 3)
    assert found["others_taken_for_one"] == pytest.approx(1 / 3)
    # The first person's second picture is farther than the limit from the second's, 0.58 from the third's.
    assert found["any_taken_for_one"] == pytest.approx(2 / 5)


def test_figures_of_several_draws_are_their_means():
    rows = [{"people": 3, "others": 0.5}, {"people": 5, "others": 0.75}]
    assert mean_figures(rows) == {"people": 8, "others": 0.625}


def test_the_command_takes_several_seeds_and_shows_each_and_their_mean(monkeypatch, tmp_path, capsys):
    """Descriptors stand in: people of seed 0 are all alike, those of seed 1 all apart."""

    class Standing:
        def __call__(self, people):
            rows = [np.stack(pictures) for pictures in people]
            return rows, rows

    def people_of(count, seed):
        for index in range(count):
            yield [seed * np.eye(128, dtype=np.float32)[index] for _ in range(2)]

    monkeypatch.setattr(recogniser_distance, "Describer", Standing)
    monkeypatch.setattr(recogniser_distance, "rendered_people", people_of)
    assert recogniser_distance.main(["--people", "4", "--seeds", "0", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| rendered, photographs of 256 px | 100.0% | 0.0% | 50.0% |" in printed
    assert "--people 4 --seeds 0 1" in printed
    assert (tmp_path / "recogniser_distance.json").is_file()


def test_a_crop_holds_the_face_and_its_landmarks():
    picture = np.zeros((256, 320, 3), np.uint8)
    points = np.array([[100, 60], [180, 60], [140, 160]], np.float32)
    for x, y in points.astype(int):
        picture[y - 3 : y + 3, x - 3 : x + 3] = 255
    small, moved = crop(picture, points)
    assert small.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert moved.min() > 0 and moved.max() < CROP_SIZE
    assert np.ptp(moved, axis=0).max() == pytest.approx(CROP_SIZE / recogniser_distance.CROP_MARGIN, rel=1e-5)
    for x, y in moved.astype(int):
        assert small[y, x].mean() > 120


def test_real_people_are_read_from_pictures_and_videos(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.full((960, 480, 3), 90, np.uint8))
    (tmp_path / "notes.txt").write_text("nothing to see")
    [[picture]] = real_people(tmp_path)
    assert picture.shape == (480, 240, 3)


def test_without_the_extra_one_line_names_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ImportError, match="extra `recogniser`"):
        FaceDescriptor()
    assert recogniser_distance.main(["--people", "1"]) == 1
    assert "extra `recogniser`" in capsys.readouterr().err


def test_a_face_is_nearer_to_itself_than_to_noise():
    pytest.importorskip("dlib")
    descriptor = FaceDescriptor()
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), (300, 300))
    points = np.zeros((478, 2), np.float32)
    points[list(CHIP_LANDMARKS)] = [[190, 120], [160, 120], [110, 120], [140, 120], [150, 165]]
    chip = descriptor.chip(picture, points)
    assert chip.shape == (CHIP_SIZE, CHIP_SIZE, 3)
    # The same face a little larger in its picture gives the same chip.
    larger = descriptor.chip(cv2.resize(picture, (600, 600), interpolation=cv2.INTER_LINEAR), points * 2)
    other = rng.integers(0, 255, chip.shape, dtype=np.uint8)
    one, same, foreign = (descriptor.describe(each) for each in (chip, larger, other))
    assert one.shape == (128,)
    assert np.linalg.norm(one - same) < 0.5 * np.linalg.norm(one - foreign)
