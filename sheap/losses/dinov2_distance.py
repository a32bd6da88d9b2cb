"""Distance of two images in the features of a frozen DINOv2: the fourth photometric term."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def dinov2_distance(rendered: Tensor, target: Tensor, features: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean (1 - cosine) of patch features of images [B, H, W, 3] in [0, 1]; `features`: [B, 3, H, W] -> [B, P, D]. Scalar."""
    ours = features(rendered.permute(0, 3, 1, 2))
    theirs = features(target.permute(0, 3, 1, 2)).detach()
    return (1 - F.cosine_similarity(ours, theirs, dim=-1)).mean()
