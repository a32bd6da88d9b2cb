"""NaN and infinity: never a hang or a crash, and a debug switch that names the field."""

from __future__ import annotations

import pytest
import torch

from benchmarks.splat_scenes import nasty_scene
from sheap.geometry.cameras import Cameras
from sheap.render import Splats, rasterize_splats
from tests.render.made_splats import FIELDS, leaves, loss


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["means", "quats_wxyz", "scales", "opacities"])
def test_a_non_finite_splat_is_not_drawn(backend: str, field: str, bad: float):
    splats, cameras, background = nasty_scene("cloud", seed=11)
    value = getattr(splats, field).clone()
    value[0, 7] = bad
    spoilt = leaves(splats.replace(**{field: value}))
    views = rasterize_splats(spoilt, cameras, background=background, backend=backend)
    rest = torch.arange(60) != 7
    without = leaves(Splats(*(getattr(splats, name)[:, rest] for name in FIELDS)))
    expected = rasterize_splats(without, cameras, background=background, backend=backend)
    for name in ("color", "alpha", "depth", "normal"):
        assert torch.equal(getattr(views, name), getattr(expected, name)), name
    loss(views).backward()
    loss(expected).backward()
    for name in FIELDS:
        gradient, wanted = getattr(spoilt, name).grad, getattr(without, name).grad
        assert (gradient[0, 7] == 0).all(), name
        # Autograd's sums may run in another order.
        assert torch.allclose(gradient[:, rest], wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max())), name


def test_check_finite_names_the_field():
    splats, cameras, background = nasty_scene("cloud", seed=12)
    rasterize_splats(splats, cameras, background=background, check_finite=True)
    for name in FIELDS:
        spoilt = getattr(splats, name).clone()
        spoilt.flatten()[5] = torch.nan
        spoilt.view(-1)[5] = torch.nan
        with pytest.raises(ValueError, match=rf"splats\.{name}: 1 of"):
            rasterize_splats(splats.replace(**{name: spoilt}), cameras, background=background, check_finite=True)
    nowhere = cameras.world_to_cam.clone()
    nowhere[..., 0, 3] = torch.inf
    with pytest.raises(ValueError, match=r"cameras\.world_to_cam"):
        rasterize_splats(splats, Cameras(nowhere, cameras.K, 40, 56), background=background, check_finite=True)
    with pytest.raises(ValueError, match="background"):
        rasterize_splats(splats, cameras, background=background * torch.nan, check_finite=True)


def test_nan_everywhere_neither_hangs_nor_crashes(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=13)
    nothing = leaves(Splats(*(torch.full_like(getattr(splats, name), torch.nan) for name in FIELDS)))
    views = rasterize_splats(nothing, cameras, background=background, backend=backend)
    assert (views.alpha == 0).all()
    lost = Cameras(cameras.world_to_cam * torch.nan, cameras.K, 40, 56)
    assert (rasterize_splats(splats, lost, background=background, backend=backend).alpha == 0).all()


def test_nan_from_above_reaches_only_gradients():
    splats, cameras, background = nasty_scene("cloud", seed=14)
    fresh = leaves(splats)
    views = rasterize_splats(fresh, cameras, background=background, backend="cpu")
    (views.color * torch.nan).sum().backward()
    assert fresh.colors.grad.isnan().any()
