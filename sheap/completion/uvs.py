"""UVs for a head that has none: the head unrolled from the front onto a disc, without a seam but for one point at the back."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def disc_uvs(template: Tensor, centre: Tensor) -> Tensor:
    """Places [N, 2] in [0, 1] of vertices [N, 3] around `centre` [3]: the disc's middle looks along z, its rim is the back."""
    around = torch.nn.functional.normalize(template - centre, dim=-1)
    angle = torch.atan2(around[:, :2].norm(dim=-1), around[:, 2])
    across = torch.nn.functional.normalize(around[:, :2], dim=-1)
    return 0.5 + 0.5 * (angle / math.pi)[:, None] * across
