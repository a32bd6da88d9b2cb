from __future__ import annotations

import cv2
import numpy as np
import pytest

from experiments import photo_gap
from experiments.photo_gap import Crops, accuracy, compare, explains, held_out_scores, measures, regions, rendered_folder

PEOPLE, CROPS = 24, 5


def kinds():
    """Whose crop, and whether it is real."""
    people = np.repeat(np.arange(PEOPLE), CROPS)
    return people, people < PEOPLE // 2


def told_rightly(features):
    people, is_real = kinds()
    return accuracy(held_out_scores(features, is_real, people), is_real, people)


def test_what_sets_real_apart_is_found_on_unseen_people():
    people, is_real = kinds()
    features = np.random.default_rng(0).standard_normal((len(people), 20))
    features[:, 3] += 6 * is_real
    assert told_rightly(features) > 0.95


def test_knowing_people_again_is_no_help():
    """Features that name the person would tell every crop of known people: unseen ones stay at chance."""
    people, _ = kinds()
    rng = np.random.default_rng(1)
    named = rng.standard_normal((PEOPLE, 20))[people] + 0.05 * rng.standard_normal((len(people), 20))
    assert 0.25 < told_rightly(named) < 0.75


def test_every_person_counts_the_same():
    people, is_real = np.array([0, 0, 0, 1, 2]), np.array([True, True, True, True, False])
    # One real person's three crops are told wrongly, the other's one rightly.
    assert accuracy(np.array([-1.0, -1, -1, 1, -1]), is_real, people) == pytest.approx((0.5 + 1) / 2)


def face_points():
    """Landmarks on a circle, eyes, mouth and nose where a frontal face has them (px of a crop of 112)."""
    angles = np.linspace(0, 2 * np.pi, 478)
    points = np.stack([56 + 33 * np.cos(angles), 56 + 33 * np.sin(angles)], -1).astype(np.float32)
    for group, (x, y) in zip((*photo_gap.EYES, photo_gap.MOUTH), ((42, 48), (70, 48), (56, 76))):
        points[list(group)] = [[x - 6, y], [x + 6, y], [x, y - 3], [x, y + 3]]
    points[[13, 14]] = [[56, 76], [56, 76]]
    points[4] = (56, 60)
    return points


def test_measures_follow_noise_blur_and_colour_where_they_are():
    rng = np.random.default_rng(2)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8), None, 3)
    points = face_points()
    mouth = regions(picture.shape[:2], points)["mouth"][..., None]
    plain = measures(picture, points)
    grain = np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255)
    noisy = measures(np.where(mouth, grain, picture).astype(np.uint8), points)
    assert noisy["mouth: noise"] > 2 * plain["mouth: noise"] and noisy["around: noise"] == plain["around: noise"]
    assert measures(cv2.GaussianBlur(picture, None, 2), points)["skin: sharpness"] < plain["skin: sharpness"]
    assert measures(picture // 2, points)["eyes: brightness"] < 0.6 * plain["eyes: brightness"]
    red = measures(np.where(mouth, np.uint8([250, 10, 10]), picture).astype(np.uint8), points)
    assert red["mouth: saturation"] > 0.9 and red["eyes: saturation"] == plain["eyes: saturation"]
    points[14] += (0, 6)
    assert measures(picture, points)["mouth open"] == pytest.approx(0.5, abs=0.01)


def test_the_cue_that_the_score_follows_comes_first():
    rng = np.random.default_rng(3)
    own = rng.standard_normal((2, 60))
    sides = []
    for shift, values in zip((3.0, 0.0), own):
        features = rng.standard_normal((60, 8))
        features[:, 0] = values + shift
        cues = {"used": values + shift, "unused": rng.standard_normal(60)}
        sides.append(Crops(np.repeat(np.arange(12), 5), {"looks": features}, cues, None))
    found = compare(*sides)
    assert found["accuracy"]["looks"] > 0.8 and "descriptor_means" not in found
    assert explains(found["cues"]["used"]) > 1 > 5 * abs(explains(found["cues"]["unused"]))


def test_a_persons_subfolder_is_one_person(tmp_path):
    for name in ("000/0.jpg", "000/1.jpg", "001/0.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((64, 48, 3), 90, np.uint8))
    assert [len(pictures) for pictures in rendered_folder(tmp_path)] == [2, 1]


def test_missing_and_faceless_folders_are_told(tmp_path, capsys):
    assert photo_gap.main(["measure", "--real", str(tmp_path / "no"), "--rendered", str(tmp_path)]) == 1
    assert "no: no such folder" in capsys.readouterr().err
    assert photo_gap.main(["measure", "--real", str(tmp_path), "--rendered", str(tmp_path)]) == 1
    assert "no picture shows a face" in capsys.readouterr().err
