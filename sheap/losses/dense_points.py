"""Predicted points against true ones, each with the uncertainty that the network claims for it."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_points_loss(predicted: Tensor, true: Tensor, log_scales: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean negative log likelihood of true points [B, L, D] under Laplace-like densities exp(-r / b) / b^D around predicted ones
    [B, L, D]; r: distance, b = exp(log_scales [B, L]), both in the points' unit. weights [B, L]: what each point counts. Scalar.

    A far-tailed density: hidden points are off by centimetres where seen ones are off by half a millimetre.
    """
    distance = ((predicted - true).square().sum(-1) + 1e-6).sqrt()
    # Below a thousandth of a unit certainty pays no more: one lucky point must not rule the batch.
    log_scales = log_scales.clamp(-7, 7)
    terms = distance * torch.exp(-log_scales) + predicted.shape[-1] * log_scales
    if weights is None:
        return terms.mean()
    return (weights * terms).sum() / weights.sum().clamp_min(1e-8)
