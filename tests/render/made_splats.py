"""Scenes of one or a few splats that the tests make, and what they compare."""

from __future__ import annotations

import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.render import RenderedViews, Splats

BLACK = torch.zeros(3)
FIELDS = ("means", "quats_wxyz", "scales", "opacities", "colors")


def camera(height: int = 24, width: int = 24, focal: float = 100.0, num_views: int = 1) -> Cameras:
    """At the origin, looking along +z, the principal point in the middle of a pixel."""
    K = torch.tensor([[focal, 0, width // 2 + 0.5], [0, focal, height // 2 + 0.5], [0, 0, 1]])
    return Cameras(torch.eye(4).repeat(num_views, 1, 1), K.repeat(num_views, 1, 1), height, width)


def splat(**changes: object) -> Splats:
    """One splat a metre in front of the camera, facing it, 4 x 2 pixels of sigma, red, opacity 0.8."""
    values: dict[str, object] = {
        "means": [[0.0, 0.0, 1.0]],
        "quats_wxyz": [[1.0, 0.0, 0.0, 0.0]],
        "scales": [[0.04, 0.02]],
        "opacities": [0.8],
        "colors": [[1.0, 0.0, 0.0]],
    }
    return Splats(**{name: torch.as_tensor(value) for name, value in (values | changes).items()})


def joined(*splats: Splats) -> Splats:
    return Splats(*(torch.cat([getattr(one, name) for one in splats], -2 if name != "opacities" else -1) for name in FIELDS))


def offsets(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Pixels from the principal point, x and y: [H, W] each."""
    y, x = torch.meshgrid(torch.arange(cameras.height), torch.arange(cameras.width), indexing="ij")
    return (x - cameras.width // 2).float(), (y - cameras.height // 2).float()


def leaves(splats: Splats) -> Splats:
    return Splats(*(getattr(splats, name).detach().clone().requires_grad_() for name in FIELDS))


def loss(views: RenderedViews) -> Tensor:
    return views.color.square().sum() + views.alpha.sum() + views.depth.sum() + views.normal.square().sum()


def assert_same_views(a: RenderedViews, b: RenderedViews, **tolerance: float) -> None:
    for name in ("color", "alpha", "depth", "normal", "contribution"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), **(tolerance or {"rtol": 0, "atol": 0}))
