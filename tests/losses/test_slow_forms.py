"""Every loss on random numbers against its definition, written out with Python's own numbers, one entry at a time.

Inputs have two leading dimensions wherever a loss allows it, lie on both sides of every threshold, and weights are uneven.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sheap.losses.alpha import alpha_loss
from sheap.losses.gaussian_regularisers import offset_regulariser, opacity_regulariser, scale_regulariser
from sheap.losses.geometry_consistency import depth_consistency, normal_consistency
from sheap.losses.landmarks import landmark_loss, visibility_weights
from sheap.losses.photometric import photometric_loss
from sheap.losses.priors import (
    expression_prior,
    eyelid_prior,
    identity_consistency,
    lighting_prior,
    population_prior,
    pose_prior,
    shape_prior,
)
from sheap.networks.landmark_calibration import LandmarkCalibration
from sheap.training.config import LossWeights

HERE = "tests.losses.test_slow_forms"
SLOW_FORMS = {
    "landmarks": (HERE, "test_landmark_loss"),
    "calibration": (HERE, "test_calibration_size"),
    "photometric": (HERE, "test_mean_absolute_differences"),
    "ssim": ("tests.losses.test_losses", "test_ssim_against_windows_one_by_one"),
    "lpips": ("tests.losses.test_losses", "test_lpips_against_its_definition"),
    "dinov2": ("tests.losses.test_losses", "test_dinov2_distance_is_one_minus_cosine_and_pulls_on_the_render_alone"),
    "normals": (HERE, "test_normal_consistency"),
    "depth": (HERE, "test_depth_consistency"),
    "alpha": (HERE, "test_mean_absolute_differences"),
    "shape_prior": (HERE, "test_standard_normal_priors"),
    "population_prior": (HERE, "test_population_prior"),
    "identity_consistency": (HERE, "test_identity_consistency"),
    "expression_prior": (HERE, "test_standard_normal_priors"),
    "pose_prior": (HERE, "test_pose_prior"),
    "eyelid_prior": (HERE, "test_eyelid_prior"),
    "lighting_prior": (HERE, "test_standard_normal_priors"),
    "offset": (HERE, "test_offset_regulariser"),
    "scale": (HERE, "test_scale_regulariser"),
    "opacity": (HERE, "test_opacity_regulariser"),
    "near_start": ("tests.losses.test_near_start", "test_it_is_half_the_squared_distance_of_all_weights_together"),
    "truth_shape": ("tests.training.test_supervision", "test_each_term_against_its_slow_form"),
    "truth_fused_shape": ("tests.training.test_supervision", "test_fused_shape_against_its_slow_form"),
    "truth_points": ("tests.training.test_supervision", "test_points_against_their_slow_form"),
    "truth_landmarks": ("tests.training.test_supervision", "test_each_term_against_its_slow_form"),
    "truth_motion": ("tests.training.test_supervision", "test_each_term_against_its_slow_form"),
}
"""Where each loss term stands against its definition, by its weight's name."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows(values: Tensor) -> list[list[float]]:
    """All vectors along the last dimension."""
    return values.flatten(0, -2).tolist()


def numbers(values: Tensor) -> list[float]:
    return values.flatten().tolist()


def mean(values: Iterator[float] | list[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def assert_is(loss: Tensor, expected: float) -> None:
    assert loss.ndim == 0
    assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_every_term_has_a_slow_form() -> None:
    assert set(SLOW_FORMS) == set(LossWeights.model_fields)
    for module, function in set(SLOW_FORMS.values()):
        assert callable(getattr(importlib.import_module(module), function)), f"{module}.{function}"


@pytest.mark.parametrize("prior", [shape_prior, expression_prior, lighting_prior])
def test_standard_normal_priors(prior) -> None:
    codes = normal(3, 2, 7)
    assert_is(prior(codes), mean(v * v for v in numbers(codes)))


def test_population_prior() -> None:
    shape = normal(5, 7)
    assert_is(population_prior(shape), mean(mean(column) ** 2 for column in shape.T.tolist()))


def test_identity_consistency() -> None:
    source, target = normal(4, 6), normal(4, 6, seed=1)
    expected = mean((a - b) ** 2 for a, b in zip(numbers(source), numbers(target), strict=True))
    assert_is(identity_consistency(source, target), expected)
    assert_is(identity_consistency(source, source), 0.0)
    assert_is(identity_consistency(source, -source), 4 * mean(v * v for v in numbers(source)))


def test_eyelid_prior() -> None:
    eyelids = uniform(3, 40, 2) * 3 - 1

    def cost(lid: float) -> float:
        outside = lid - 1 if lid > 1 else min(lid, 0.0)
        return outside**2 + 0.1 * lid**2

    assert min(numbers(eyelids)) < -0.5 and max(numbers(eyelids)) > 1.5
    assert_is(eyelid_prior(eyelids), mean(cost(lid) for lid in numbers(eyelids)))


def test_pose_prior() -> None:
    neck, jaw, eyes = normal(2, 5, 3), normal(2, 5, 3, seed=1), normal(4, 5, 3, seed=2)

    def jaw_cost(opening: float, y: float, z: float) -> float:
        return opening**2 + 10 * (y**2 + z**2) + (10 * opening**2 if opening < 0 else 0.0)

    expected = (
        mean(x * x + y * y + z * z for x, y, z in rows(neck))
        + mean(jaw_cost(*row) for row in rows(jaw))
        + mean(x * x + y * y + z * z for x, y, z in rows(eyes))
    )
    assert_is(pose_prior(neck, jaw, eyes), expected)


def test_landmark_loss() -> None:
    predicted, detected, weights = normal(2, 3, 5, 2) * 40, normal(2, 3, 5, 2, seed=1) * 40, uniform(2, 3, 5)
    total = sum(
        w * (abs(a[0] - b[0]) + abs(a[1] - b[1])) / 64
        for w, a, b in zip(numbers(weights), rows(predicted), rows(detected), strict=True)
    )
    assert_is(landmark_loss(predicted, detected, weights, 64), total / sum(numbers(weights)))
    assert_is(landmark_loss(predicted, detected, 1e-6 * weights, 64), total / sum(numbers(weights)))
    assert_is(landmark_loss(predicted, detected, torch.zeros_like(weights), 64), 0.0)


def test_visibility_weights() -> None:
    corners, camera = normal(4, 25, 3, 3) * 0.1, torch.tensor([0.3, -0.2, 1.1], dtype=torch.float64)

    def weight(a: list[float], b: list[float], c: list[float]) -> float:
        first, second = [q - p for p, q in zip(a, b, strict=True)], [q - p for p, q in zip(a, c, strict=True)]
        face = [
            first[1] * second[2] - first[2] * second[1],
            first[2] * second[0] - first[0] * second[2],
            first[0] * second[1] - first[1] * second[0],
        ]
        middle = [(p + q + r) / 3 for p, q, r in zip(a, b, c, strict=True)]
        ray = [e - m for e, m in zip(camera.tolist(), middle, strict=True)]
        cosine = sum(p * q for p, q in zip(face, ray, strict=True)) / math.hypot(*face) / math.hypot(*ray)
        return 0.1 + 0.9 * min(max(cosine / 0.3, 0.0), 1.0)

    expected = [weight(*face) for face in corners.flatten(0, 1).tolist()]
    assert len({round(value, 6) for value in expected}) > 10 and {0.1, 1.0} <= set(expected), "both ends and between"
    assert numbers(visibility_weights(corners, camera)) == pytest.approx(expected, rel=1e-9)


def test_normal_consistency() -> None:
    ours = torch.nn.functional.normalize(normal(2, 9, 3), dim=-1)
    theirs = torch.nn.functional.normalize(normal(2, 9, 3, seed=1), dim=-1)
    weights = uniform(2, 9)
    costs = [1 - sum(p * q for p, q in zip(a, b, strict=True)) for a, b in zip(rows(ours), rows(theirs), strict=True)]
    expected = sum(w * c for w, c in zip(numbers(weights), costs, strict=True)) / sum(numbers(weights))
    assert_is(normal_consistency(ours, theirs, weights), expected)
    assert_is(normal_consistency(ours, theirs, 1e-6 * weights), expected)
    assert_is(normal_consistency(ours, theirs, torch.zeros_like(weights)), 0.0)


def test_depth_consistency() -> None:
    ours, theirs, weights = normal(2, 1, 6, 5, 1), normal(2, 1, 6, 5, 1, seed=1), uniform(2, 1, 6, 5, 1)
    total = sum(
        w * abs(a - b) for w, a, b in zip(numbers(weights), numbers(ours), numbers(theirs), strict=True)
    )
    assert_is(depth_consistency(ours, theirs, weights), total / sum(numbers(weights)))
    assert_is(depth_consistency(ours, theirs, 1e-6 * weights), total / sum(numbers(weights)))
    assert_is(depth_consistency(ours, theirs, torch.zeros_like(weights)), 0.0)


@pytest.mark.parametrize("loss", [photometric_loss, alpha_loss])
def test_mean_absolute_differences(loss) -> None:
    ours, theirs = uniform(2, 4, 5, 1), uniform(2, 4, 5, 1, seed=1)
    assert_is(loss(ours, theirs), mean(abs(a - b) for a, b in zip(numbers(ours), numbers(theirs), strict=True)))


def test_offset_regulariser() -> None:
    offsets = normal(2, 30, 3)
    lengths = [math.hypot(*row) for row in rows(offsets)]
    assert min(lengths) < 1.2 < max(lengths)
    expected = mean(max(length - 1.2, 0.0) ** 2 for length in lengths)
    assert float(offset_regulariser(offsets, free=1.2)) == pytest.approx(expected, rel=1e-6)  # its root is kept off zero


def test_scale_regulariser() -> None:
    scales = uniform(2, 30, 2) * 3
    assert_is(scale_regulariser(scales, largest=1.5), mean(max(s - 1.5, 0.0) ** 2 for s in numbers(scales)))


def test_opacity_regulariser() -> None:
    opacities = uniform(2, 30)
    assert_is(opacity_regulariser(opacities), mean(o * (1 - o) for o in numbers(opacities)))


def test_calibration_size() -> None:
    calibration = LandmarkCalibration(4).double()
    with torch.no_grad():
        calibration.offsets.copy_(normal(4, 3))
        calibration.by_turn.copy_(normal(4, 3, 9, seed=1))
    expected = mean(v * v for v in numbers(calibration.offsets)) + mean(v * v for v in numbers(calibration.by_turn))
    assert_is(calibration.size(), expected)
