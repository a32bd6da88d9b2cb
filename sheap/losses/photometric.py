"""Pixel-wise difference of two images."""

from __future__ import annotations

from torch import Tensor


def photometric_loss(rendered: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of images [..., H, W, 3] in [0, 1]. Scalar."""
    return (rendered - target).abs().mean()
