"""A user's mistake raises a ValueError that names the field."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.render import Splats, rasterize_splats
from tests.render.made_splats import BLACK, FIELDS, camera, splat


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"means": torch.zeros(1, 2)}, r"splats\.means"),
        ({"means": torch.zeros(3)}, r"splats\.means"),
        ({"quats_wxyz": torch.zeros(1, 3)}, r"splats\.quats_wxyz"),
        ({"scales": torch.zeros(1, 3)}, r"splats\.scales"),
        ({"opacities": torch.zeros(2)}, r"splats\.opacities"),
        ({"colors": torch.zeros(1, 0)}, r"splats\.colors"),
        ({"colors": torch.zeros(1, 3, dtype=torch.uint8)}, r"splats\.colors"),
    ],
)
def test_wrong_splats_are_named(changes: dict[str, Tensor], name: str):
    with pytest.raises(ValueError, match=name):
        rasterize_splats(splat(**changes), camera(), background=BLACK)


def test_wrong_cameras_and_background_are_named():
    good = camera()
    with pytest.raises(ValueError, match=r"cameras\.K"):
        rasterize_splats(splat(), Cameras(good.world_to_cam, good.K[..., :2], 24, 24), background=BLACK)
    with pytest.raises(ValueError, match=r"cameras\.world_to_cam"):
        rasterize_splats(splat(), Cameras(good.world_to_cam.expand(2, 4, 4), good.K, 24, 24), background=BLACK)
    skewed = good.K.clone()
    skewed[..., 0, 1] = 0.1
    with pytest.raises(ValueError, match=r"cameras\.K.*fx, 0, cx"):
        rasterize_splats(splat(), Cameras(good.world_to_cam, skewed, 24, 24), background=BLACK)
    moving = Cameras(good.world_to_cam.clone().requires_grad_(), good.K, 24, 24)
    with pytest.raises(ValueError, match=r"cameras\.world_to_cam: gradients"):
        rasterize_splats(splat(), moving, background=BLACK)
    batch = Splats(*(getattr(splat(), name).expand(3, *getattr(splat(), name).shape) for name in FIELDS))
    two = Cameras(good.world_to_cam.expand(2, 1, 4, 4), good.K.expand(2, 1, 3, 3), 24, 24)
    with pytest.raises(ValueError, match="do not broadcast"):
        rasterize_splats(batch, two, background=BLACK)
    for shape in ((4,), (2, 3), (24, 24, 3), (1, 1, 3)):
        with pytest.raises(ValueError, match="background"):
            rasterize_splats(splat(), good, background=torch.zeros(shape))
