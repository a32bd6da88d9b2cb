"""Jitter and landmark agreement on made-up motion whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from sheap.evaluation.video_metrics import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, jitter, reprojection_errors


def test_even_motion_has_no_jitter_and_noise_has_its_deviation() -> None:
    rng = np.random.default_rng(0)
    start, speed = rng.normal(size=(2, 50, 3))
    moving = start + np.arange(400)[:, None, None] * speed
    assert jitter(moving) < 1e-12
    # 60,000 samples: the estimate's own spread is below half a percent.
    assert jitter(moving + 0.25 * rng.normal(size=moving.shape)) == pytest.approx(0.25, rel=0.02)
    with pytest.raises(ValueError, match="at least three frames"):
        jitter(moving[:2])


def test_reprojection_error_is_relative_to_the_eyes() -> None:
    rng = np.random.default_rng(1)
    detected = rng.normal(size=(5, 478, 2)) * 100
    eyes = np.linalg.norm(detected[:, RIGHT_EYE_OUTER] - detected[:, LEFT_EYE_OUTER], axis=-1)
    errors = reprojection_errors(detected + [3.0, 4.0], detected)
    np.testing.assert_allclose(errors, 5.0 / eyes)
    np.testing.assert_allclose(reprojection_errors(7 * (detected + [3.0, 4.0]), 7 * detected), errors)
    weights = np.zeros(478)
    weights[10] = 2.0
    moved = detected.copy()
    moved[:, 11] += 50
    np.testing.assert_array_equal(reprojection_errors(moved, detected, weights), 0)


def test_other_shapes_are_named() -> None:
    points = np.zeros((2, 478, 2))
    with pytest.raises(ValueError, match="predicted_px: expected"):
        reprojection_errors(points, points[:1])
    with pytest.raises(ValueError, match="weights: expected"):
        reprojection_errors(points, points, np.zeros(478))
