"""Structural similarity (Wang et al. 2004)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim_loss(rendered: Tensor, target: Tensor) -> Tensor:
    """1 - mean SSIM of images [B, H, W, C] in [0, 1]: Gaussian window of 11 px (sigma 1.5), no padding. Scalar.

    Raises ValueError for images smaller than the window.
    """
    if min(rendered.shape[1:3]) < WINDOW:
        raise ValueError(f"rendered: SSIM needs at least {WINDOW} px a side, got {list(rendered.shape[1:3])}")
    x, y = rendered.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
    blurred = _blur(torch.cat([x, y, x * x, y * y, x * y], 1))
    mean_x, mean_y, square_x, square_y, product = blurred.chunk(5, 1)
    variance_x, variance_y = square_x - mean_x * mean_x, square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + C1) * (2 * covariance + C2)) / (
        (mean_x * mean_x + mean_y * mean_y + C1) * (variance_x + variance_y + C2)
    )
    return 1 - similarity.mean()


def _blur(images: Tensor) -> Tensor:
    """[B, K, H, W] with the window, one axis after the other."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()
    planes = images.flatten(0, 1)[:, None]
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return planes[:, 0].unflatten(0, images.shape[:2])
