"""Splats that are hard to draw, each with its defined answer."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.splat_scenes import nasty_scene
from sheap.geometry.cameras import Cameras
from sheap.render import Splats, rasterize_splats
from tests.render.made_splats import BLACK, FIELDS, assert_same_views, camera, leaves, loss, splat


def test_opacity_outside_its_range(backend: str):
    for opacity in (0.0, -1.0, 0.9 / 255):
        views = rasterize_splats(splat(opacities=[opacity]), camera(), background=torch.ones(3), backend=backend)
        assert (views.alpha == 0).all() and (views.color == 1).all() and (views.contribution == 0).all()
    views = rasterize_splats(splat(opacities=[50.0]), camera(), background=BLACK, backend=backend)
    assert float(views.alpha.max()) == pytest.approx(0.999, abs=1e-7)


def test_splat_larger_than_the_image(backend: str):
    views = rasterize_splats(splat(scales=[[50.0, 50.0]], opacities=[0.5]), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.alpha, torch.full_like(views.alpha, 0.5), atol=1e-4)


@pytest.mark.parametrize("depth", [-1.0, 0.0, 0.005])
def test_splats_behind_or_at_the_camera_are_not_drawn(backend: str, depth: float):
    hidden = leaves(splat(means=[[0.0, 0.0, depth]], scales=[[0.5, 0.5]]))
    views = rasterize_splats(hidden, camera(), background=BLACK, backend=backend)
    assert (views.alpha == 0).all()
    loss(views).backward()
    assert all((getattr(hidden, name).grad == 0).all() for name in FIELDS)
    assert (views.splat_positional_gradients == 0).all()


def test_splat_seen_exactly_edge_on(backend: str):
    """The rays lie in its plane or miss it: no NaN, and at most a line."""
    edge_on = leaves(splat(quats_wxyz=[[math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0]]))
    views = rasterize_splats(edge_on, camera(), background=BLACK, backend=backend)
    assert (views.alpha > 0).any(-2).sum() <= 24 * 5
    loss(views).backward()
    for name in FIELDS:
        assert getattr(edge_on, name).grad.isfinite().all(), name


def test_splat_across_the_camera_plane(backend: str):
    """Its centre is in front, its far side behind the camera: drawn by gsplat's rule, finite, with finite gradients."""
    across = leaves(splat(means=[[0.05, 0.0, 0.1]], quats_wxyz=[[0.8, 0.1, 0.6, 0.0]], scales=[[0.5, 0.3]]))
    views = rasterize_splats(across, camera(), background=BLACK, backend=backend)
    loss(views).backward()
    for name in FIELDS:
        assert getattr(across, name).grad.isfinite().all(), name


def test_quaternions_of_any_length(backend: str):
    unit = torch.nn.functional.normalize(torch.tensor([[0.7, 0.3, -0.5, 0.2]]), dim=-1)
    expected = leaves(splat(quats_wxyz=unit))
    expected_views = rasterize_splats(expected, camera(), background=BLACK, backend=backend)
    loss(expected_views).backward()
    for factor in (1e-3, 37.0, -2.0):
        scaled = leaves(splat(quats_wxyz=factor * unit))
        views = rasterize_splats(scaled, camera(), background=BLACK, backend=backend)
        assert_same_views(views, expected_views, rtol=1e-4, atol=1e-5)
        loss(views).backward()
        grad, expected_grad = scaled.quats_wxyz.grad * factor, expected.quats_wxyz.grad
        assert torch.allclose(grad, expected_grad, rtol=1e-3, atol=1e-4 * float(expected_grad.abs().max()))


def test_zero_quaternion_is_the_identity_and_has_no_gradient(backend: str):
    zero = leaves(splat(quats_wxyz=[[0.0, 0.0, 0.0, 0.0]]))
    views = rasterize_splats(zero, camera(), background=BLACK, backend=backend)
    assert_same_views(views, rasterize_splats(splat(), camera(), background=BLACK, backend=backend))
    loss(views).backward()
    assert (zero.quats_wxyz.grad == 0).all()
    assert (zero.opacities.grad != 0).all()


def test_no_splats(backend: str):
    none = leaves(Splats(*(torch.zeros(2, 0, *rest) for rest in ((3,), (4,), (2,), (), (3,)))))
    background = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    views = rasterize_splats(none, camera(num_views=3), background=background, backend=backend)
    assert views.color.shape == (2, 3, 24, 24, 3) and (views.color == background).all()
    assert (views.alpha == 0).all() and (views.depth == 0).all() and (views.normal == 0).all()
    assert views.contribution.shape == (2, 3, 0)
    loss(views).backward()
    assert none.means.grad.shape == (2, 0, 3) and (background.grad > 0).all()
    assert views.splat_positional_gradients.shape == (2, 3, 0, 2)


def test_no_scenes_and_no_pixels(backend: str):
    empty = Splats(*(getattr(splat(), name)[None][:0] for name in FIELDS))
    assert rasterize_splats(empty, camera(), background=BLACK, backend=backend).color.shape == (0, 1, 24, 24, 3)
    flat = Cameras(camera().world_to_cam, camera().K, 0, 24)
    assert rasterize_splats(splat(), flat, background=BLACK, backend=backend).color.shape == (1, 0, 24, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 16), (17, 33), (5, 50)])
def test_images_that_no_tile_divides(backend: str, height: int, width: int):
    """A small image is a cut-out of a large one (same tiles, same pixels)."""
    splats, cameras, background = nasty_scene("cloud", seed=3, height=64, width=64)
    whole = rasterize_splats(splats, cameras, background=background, backend=backend)
    small = Cameras(cameras.world_to_cam, cameras.K, height, width)
    part = rasterize_splats(splats, small, background=background, backend=backend)
    for name in ("color", "alpha", "depth", "normal"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[..., :height, :width, :]), name
