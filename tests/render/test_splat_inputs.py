"""Any number of colours, scenes and views, any float type, any memory layout, any background."""

from __future__ import annotations

import pytest
import torch

from benchmarks.splat_scenes import nasty_scene
from sheap.geometry.cameras import Cameras
from sheap.render import Splats, rasterize_splats
from tests.render.made_splats import BLACK, FIELDS, assert_same_views, leaves, loss


@pytest.mark.parametrize("num_colors", [1, 2, 5, 19])
def test_any_number_of_colors(backend: str, num_colors: int):
    splats, cameras, background = nasty_scene("cloud", seed=4, num_colors=num_colors)
    views = rasterize_splats(splats, cameras, background=background, backend=backend)
    assert views.color.shape[-1] == num_colors
    last = splats.replace(colors=splats.colors[..., -1:])
    alone = rasterize_splats(last, cameras, background=background[..., -1:], backend=backend)
    assert torch.allclose(views.color[..., -1:], alone.color, atol=1e-6)


def test_batch_and_views_equal_single_images(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=5, batch=2, num_views=3)
    together = leaves(splats)
    views = rasterize_splats(together, cameras, background=background, backend=backend)
    loss(views).backward()
    gradients = torch.zeros_like(splats.means)
    for scene in range(2):
        for view in range(3):
            one = leaves(Splats(*(getattr(splats, name)[scene] for name in FIELDS)))
            alone = Cameras(cameras.world_to_cam[scene, view, None], cameras.K[scene, view, None], 40, 56)
            single = rasterize_splats(one, alone, background=background[scene, view, None], backend=backend)
            assert torch.equal(single.color[0], views.color[scene, view])
            assert torch.equal(single.contribution[0], views.contribution[scene, view])
            loss(single).backward()
            gradients[scene] += one.means.grad
            assert torch.allclose(single.splat_positional_gradients[0], views.splat_positional_gradients[scene, view], rtol=1e-5)
    assert torch.allclose(together.means.grad, gradients, rtol=1e-4, atol=1e-5 * float(gradients.abs().max()))


def test_leading_dims_broadcast(backend: str):
    """One camera for a batch of scenes, one scene for a batch of cameras, two leading dims."""
    splats, cameras, background = nasty_scene("cloud", seed=6, batch=4)
    one_camera = Cameras(cameras.world_to_cam[0], cameras.K[0], 40, 56)
    views = rasterize_splats(splats, one_camera, background=background[0], backend=backend)
    assert views.color.shape == (4, 1, 40, 56, 3)
    one_scene = Splats(*(getattr(splats, name)[0] for name in FIELDS))
    assert rasterize_splats(one_scene, cameras, background=BLACK, backend=backend).color.shape == (4, 1, 40, 56, 3)
    grid = Splats(*(getattr(splats, name).unflatten(0, (2, 2)) for name in FIELDS))
    folded = rasterize_splats(grid, one_camera, background=background[0], backend=backend)
    assert torch.equal(folded.color.flatten(0, 1), views.color)
    assert folded.contribution.shape == (2, 2, 1, 60)


def test_backgrounds(backend: str):
    splats, cameras, _ = nasty_scene("cloud", seed=7, batch=2, num_views=2)
    plain = torch.tensor([0.2, 0.4, 0.6])
    expected = rasterize_splats(splats, cameras, background=plain, backend=backend)
    for shape in ((2, 3), (2, 2, 3), (2, 40, 56, 3), (2, 2, 40, 56, 3)):
        views = rasterize_splats(splats, cameras, background=plain.expand(shape), backend=backend)
        assert torch.equal(views.color, expected.color), shape
    image = torch.rand(2, 2, 40, 56, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    views = rasterize_splats(splats, cameras, background=image, backend=backend)
    difference = views.color - rasterize_splats(splats, cameras, background=BLACK, backend=backend).color
    assert torch.allclose(difference, (1 - views.alpha) * image, atol=1e-6)
    views.color.sum().backward()
    assert torch.allclose(image.grad, (1 - views.alpha).expand_as(image), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_rasterised_in_float32(backend: str, dtype: torch.dtype):
    if backend == "reference" and dtype == torch.float64:
        pytest.skip("the reference keeps float64, which the tests of parity compare with")
    splats, cameras, background = nasty_scene("cloud", seed=8)
    rounded = leaves(splats.to(dtype))
    views = rasterize_splats(rounded, cameras, background=background.to(dtype), backend=backend)
    assert views.color.dtype == torch.float32
    expected = rasterize_splats(
        splats.to(dtype).to(torch.float32), cameras, background=background.to(dtype).float(), backend=backend
    )
    assert_same_views(views, expected)
    loss(views).backward()
    assert rounded.means.grad.dtype == dtype and (rounded.colors.grad != 0).any()


def test_autocast_changes_nothing(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=9)
    expected = rasterize_splats(splats, cameras, background=background, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        views = rasterize_splats(splats, cameras, background=background, backend=backend)
    assert_same_views(views, expected)


def test_non_contiguous_inputs(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=10, batch=2)
    spaced = Splats(
        *(torch.stack([getattr(splats, name), torch.full_like(getattr(splats, name), torch.nan)], -1)[..., 0] for name in FIELDS)
    )
    assert not spaced.means.is_contiguous()
    expected, wanted = leaves(splats), rasterize_splats(splats, cameras, background=background, backend=backend)
    views = rasterize_splats(spaced, cameras, background=background, backend=backend)
    assert_same_views(views, wanted)
    swapped = expected.replace(means=expected.means.transpose(0, 1).contiguous().transpose(0, 1))
    rasterize_splats(swapped, cameras, background=background, backend=backend).color.transpose(-2, -3).sum().backward()
    again = leaves(splats)
    rasterize_splats(again, cameras, background=background, backend=backend).color.sum().backward()
    assert torch.allclose(expected.means.grad, again.means.grad, rtol=1e-5, atol=1e-6)
