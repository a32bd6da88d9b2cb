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


def test_certainty_pays_no_more_below_a_thousandth_of_a_unit_nor_above_a_thousand():
    """Log scales act between -7 and 7 only, and a point outside has no gradient that would pull it further."""
    predicted, true = torch.zeros(1, 4, 2), torch.tensor([[[0.3, 0.4]] * 4])
    log_scales = torch.tensor([[-9.0, -7.0, 7.0, 9.0]], requires_grad=True)
    distance = math.sqrt(0.25 + 1e-6)
    for k, held in enumerate((-7.0, -7.0, 7.0, 7.0)):
        one = dense_points_loss(predicted[:, k : k + 1], true[:, k : k + 1], log_scales[:, k : k + 1])
        assert float(one.detach()) == pytest.approx(distance * math.exp(-held) + 2 * held, rel=1e-5)
    dense_points_loss(predicted, true, log_scales).backward()
    assert log_scales.grad is not None
    assert float(log_scales.grad[0, 0]) == 0 and float(log_scales.grad[0, 3]) == 0


def test_a_point_that_is_met_exactly_has_a_finite_cost_and_gradient():
    predicted = torch.zeros(1, 1, 3, requires_grad=True)
    loss = dense_points_loss(predicted, torch.zeros(1, 1, 3), torch.zeros(1, 1))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1e-3, rel=1e-4)
    assert predicted.grad is not None and bool(torch.isfinite(predicted.grad).all())


def test_weights_are_shares_however_small_they_are():
    predicted, true = torch.zeros(1, 2, 2), torch.tensor([[[0.3, 0.4], [3.0, 4.0]]])
    log_scales = torch.zeros(1, 2)
    expected = 0.25 * math.sqrt(0.25 + 1e-6) + 0.75 * math.sqrt(25 + 1e-6)
    for scale in (1.0, 1e-3):
        weights = scale * torch.tensor([[0.25, 0.75]])
        assert float(dense_points_loss(predicted, true, log_scales, weights)) == pytest.approx(expected, rel=1e-5)
    assert float(dense_points_loss(predicted, true, log_scales, torch.zeros(1, 2))) == 0
