"""The verdict: figures that need no truth, thresholds that were measured, and an error where the model's answer is none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sheap.evaluation.pictures import read_picture
from sheap.evaluation.verdict import (
    LEAST_PRESENCE,
    MOST_DISAGREEMENT,
    MOST_YAW_DEG,
    disagreement,
    judge,
    judge_prediction,
    yaw_of,
)
from sheap.predictor import SheapPredictor
from sheap.video.crops import crop_box, cut_crop
from sheap.video.face_landmarker import FaceLandmarks, roi_from_landmarks
from tests.pipeline.commands.made_predictor import MadePredictor

PORTRAITS = Path(__file__).parents[3] / "shared/images"


@pytest.fixture(scope="module")
def made() -> MadePredictor:
    return MadePredictor()


def test_each_threshold_gives_its_own_reason() -> None:
    assert judge(0.99, 0.04, -20.0).is_sure and judge(0.99, None, 0.0).is_sure
    for verdict, said in (
        (judge(LEAST_PRESENCE - 0.01, 0.04, 0.0), "presence"),
        (judge(0.99, MOST_DISAGREEMENT + 0.01, 0.0), "disagree"),
        (judge(0.99, 0.04, -MOST_YAW_DEG - 1), "turned by 61 degrees"),
    ):
        assert not verdict.is_sure and verdict.word == "doubtful" and len(verdict.reasons) == 1
        assert said in verdict.reasons[0] and said in str(verdict) and verdict.to_json()["reasons"] == list(verdict.reasons)
    assert len(judge(0.1, 3.0, 170.0).reasons) == 3


@pytest.mark.parametrize("figures", [(math.nan, 0.1, 0.0), (0.9, math.inf, 0.0), (0.9, None, math.nan)])
def test_figures_that_are_no_numbers_are_an_error(figures: tuple) -> None:
    with pytest.raises(ValueError, match="not finite"):
        judge(*figures)


def test_disagreement_is_in_eye_distances_and_does_not_shrink_with_the_picture(made: MadePredictor) -> None:
    crop = crop_box(made.points)
    found = disagreement(made.head, made.params, crop, made.points)
    assert found is not None and 0 <= found < 0.07  # the crop rule fits another mean face: 0.048
    eyes = float(np.linalg.norm(made.points[33] - made.points[263]))
    moved = made.points + np.array([0.5 * eyes, 0, 0], np.float32)
    apart = disagreement(made.head, made.params, crop, moved)
    assert apart is not None and apart == pytest.approx(0.5, abs=0.06)
    large = disagreement(made.head, made.params, crop_box(4 * made.points), 4 * made.points)
    assert large == pytest.approx(found, abs=1e-3)
    assert not judge_prediction(made.head, made.params, crop, FaceLandmarks(moved, 0.99)).is_sure


def test_yaw_is_of_the_head_and_signed(made: MadePredictor) -> None:
    for degrees in (-70.0, 0.0, 30.0):
        half = torch.tensor([[0.0, math.radians(degrees) / 2, 0.0]])
        assert yaw_of(made.params.replace(root_rotvec=half, neck_rotvec=half)) == pytest.approx(degrees, abs=0.01)


def test_an_answer_that_is_not_finite_is_an_error(made: MadePredictor) -> None:
    broken = made.params.replace(shape=torch.full_like(made.params.shape, float("nan")))
    with pytest.raises(ValueError, match="model: its answer"):
        judge_prediction(made.head, broken, crop_box(made.points), FaceLandmarks(made.points, 0.99))


@pytest.mark.skipif(not PORTRAITS.is_dir(), reason="the portraits of real people (../shared/images) are not here")
def test_real_portraits_are_sure_and_the_same_seen_askew_are_not() -> None:
    predictor = SheapPredictor.load()
    paths = sorted(PORTRAITS.glob("*.jpg"))[:4]
    judged = 0
    for path in paths:
        picture = read_picture(path)
        faces = predictor.face_finder.process(picture)
        if not faces:
            continue
        judged += 1
        assert predictor.predict_image(picture).verdict.is_sure, path
        roi = roi_from_landmarks(faces[0].points)
        face = predictor.face_finder.landmarks(picture, replace(roi, rotation=roi.rotation + math.pi))
        crop = crop_box(face.points)
        pixels = torch.from_numpy(cut_crop(picture, crop, predictor.image_size)).permute(2, 0, 1)[None].float() / 255
        verdict = judge_prediction(predictor.head, predictor.predict(pixels), crop, replace(face, presence=1.0))
        assert not verdict.is_sure, "whatever presence the landmark model claims"
    assert judged >= 2
