"""Coverage: the Gaussians fill the foreground and nothing else."""

from __future__ import annotations

from torch import Tensor


def alpha_loss(alpha: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of the render's alpha and the foreground mask, both [..., H, W, 1] in [0, 1]. Scalar."""
    return (alpha - mask).abs().mean()
