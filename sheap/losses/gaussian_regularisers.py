"""What keeps Gaussians small, near their faces and decided."""

from __future__ import annotations

from torch import Tensor


def offset_regulariser(offsets: Tensor, free: float) -> Tensor:
    """Mean squared length of offsets [..., G, 3] beyond `free`, in face extents. Scalar."""
    excess = (offsets.square().sum(-1) + 1e-12).sqrt() - free
    return excess.clamp_min(0).square().mean()


def scale_regulariser(scales: Tensor, largest: float) -> Tensor:
    """Mean squared excess of scales [..., G, 2] over `largest`, in face extents. Scalar."""
    return (scales - largest).clamp_min(0).square().mean()


def opacity_regulariser(opacities: Tensor) -> Tensor:
    """Mean of o (1 - o) over opacities [..., G]: a Gaussian is there or it is not. Scalar."""
    return (opacities * (1 - opacities)).mean()
