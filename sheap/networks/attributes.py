"""The 14 numbers of a Gaussian: what each means, its activation and where it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_ATTRIBUTES = 14
OFFSET_LIMIT = 8.0
"""Farthest a centre may leave its anchor, in face extents: a face is about 5 mm, so hair can stand 4 cm off the scalp."""
START_SCALE = 0.45
"""Standard deviation of an untrained Gaussian in extents of its face: neighbours overlap and leave no holes."""
SCALE_RANGE = math.log(8.0)
"""Scales stay within START_SCALE / 8 .. START_SCALE * 8."""
START_ALBEDO = 0.5
START_OPACITY = 0.9


@dataclass(frozen=True)
class GaussianAttributes:
    """Attributes in the parent face's frame. offsets [..., G, 3] and scales [..., G, 2] in face extents; quats_wxyz
    [..., G, 4] unit; albedos [..., G, 3] and opacities [..., G] in (0, 1)."""

    offsets: Tensor
    scales: Tensor
    quats_wxyz: Tensor
    albedos: Tensor
    opacities: Tensor


def activate(raw: Tensor, density: Tensor) -> GaussianAttributes:
    """Network outputs [..., G, 14] to attributes. All zeros give a grey, nearly opaque Gaussian flat on its face.

    Order: offset 3, scale 3, rotation 4, albedo 3, opacity 1. Activations: offset L tanh(x / L); scale
    s_0 / sqrt(density) exp(R tanh(x / R)); rotation (1, 0, 0, 0) + x, normalised; albedo and opacity sigmoid about their
    start. density [G] is how many Gaussians share the parent face. The third scale is read by nothing: a 2D Gaussian has
    no thickness; the published count of 14 is kept.
    """
    offsets, scales, rotations, albedos, opacities = raw.float().split([3, 3, 4, 3, 1], dim=-1)
    identity = torch.zeros_like(rotations)
    identity[..., 0] = 1
    start = START_SCALE * density.clamp_min(1).rsqrt()[:, None]
    return GaussianAttributes(
        offsets=OFFSET_LIMIT * torch.tanh(offsets / OFFSET_LIMIT),
        scales=start * torch.exp(SCALE_RANGE * torch.tanh(scales[..., :2] / SCALE_RANGE)),
        quats_wxyz=torch.nn.functional.normalize(identity + rotations, dim=-1),
        albedos=torch.sigmoid(albedos + _logit(START_ALBEDO)),
        opacities=torch.sigmoid(opacities[..., 0] + _logit(START_OPACITY)),
    )


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
