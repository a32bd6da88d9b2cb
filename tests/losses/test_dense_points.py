"""Points with an uncertainty: against the plain formula, and least where the uncertainty is the error."""

from __future__ import annotations

import math

import pytest
import torch

from sheap.losses.dense_points import dense_points_loss


def test_it_equals_the_formula_point_by_point():
    generator = torch.Generator().manual_seed(0)
    predicted, true = torch.randn(2, 5, 2, generator=generator), torch.randn(2, 5, 2, generator=generator)
    log_scales, weights = torch.randn(2, 5, generator=generator), torch.rand(2, 5, generator=generator)
    total = 0.0
    for b in range(2):
        for k in range(5):
            distance = math.sqrt(sum(float(predicted[b, k, d] - true[b, k, d]) ** 2 for d in range(2)) + 1e-6)
            scale = math.exp(float(log_scales[b, k]))
            total += float(weights[b, k]) * (distance / scale + 2 * math.log(scale))
    assert float(dense_points_loss(predicted, true, log_scales, weights)) == pytest.approx(
        total / float(weights.sum()), rel=1e-5
    )
    assert float(dense_points_loss(predicted, true, log_scales)) == pytest.approx(
        float(dense_points_loss(predicted, true, log_scales, torch.ones(2, 5))), rel=1e-6
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_the_best_scale_is_the_distance_over_the_dimensions(dims):
    """Setting the derivative by log b to zero gives b = r / D."""
    true = torch.zeros(1, 1, dims)
    predicted = torch.full((1, 1, dims), 0.3)
    distance = float(predicted.norm())
    log_scales = torch.tensor([[math.log(distance / dims)]], requires_grad=True)
    dense_points_loss(predicted, true, log_scales).backward()
    assert float(log_scales.grad) == pytest.approx(0.0, abs=1e-4)
