"""What densification reads: positional gradients and contributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.splat_scenes import NASTY_KINDS, nasty_scene
from sheap.render import rasterize_splats
from tests.render.made_splats import BLACK, camera, leaves, loss, splat


def test_positional_gradients_need_a_backward_pass(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=15)
    views = rasterize_splats(splats, cameras, background=background, backend=backend)
    with pytest.raises(RuntimeError, match="splat_positional_gradients"):
        _ = views.splat_positional_gradients
    views = rasterize_splats(leaves(splats), cameras, background=background, backend=backend)
    with pytest.raises(RuntimeError, match="splat_positional_gradients"):
        _ = views.splat_positional_gradients
    loss(views).backward(retain_graph=True)
    once = views.splat_positional_gradients.clone()
    assert once.shape == (1, 1, 60, 2) and (once != 0).any()
    loss(views).backward()
    assert torch.allclose(views.splat_positional_gradients, 2 * once)


def test_positional_gradient_is_the_slope_of_moving_a_splat_on_the_image():
    """A splat facing the camera, moved by pixels: mean and filter centre both move with it."""
    cameras = camera()
    weights = torch.linspace(-1, 1, 24).expand(24, 24)[None, ..., None]

    def value(shift_px: float) -> Tensor:
        moved = splat(means=[[shift_px / 100, 0.0, 1.0]], scales=[[0.011, 0.011]])
        return (rasterize_splats(moved.to(torch.float64), cameras.to(torch.float64), background=BLACK,
                                 backend="reference").alpha * weights).sum()  # fmt: skip

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    views = rasterize_splats(leaves(splat(scales=[[0.011, 0.011]])), cameras, background=BLACK, backend="cpu")
    (views.alpha * weights).sum().backward()
    assert float(views.splat_positional_gradients[0, 0, 0]) == pytest.approx(float(slope), rel=1e-3)
    assert abs(float(views.splat_positional_gradients[0, 0, 1])) < 1e-5


@pytest.mark.parametrize("kind", NASTY_KINDS)
def test_contribution_is_the_image_s_gradient_to_a_splat_s_brightness(backend: str, kind: str):
    """Each splat's weights summed over the pixels, whichever way they are asked for."""
    splats, cameras, _ = nasty_scene(kind, seed=80, num_views=2, num_colors=1)
    shining = leaves(splats)
    views = rasterize_splats(shining, cameras, background=torch.zeros(1), backend=backend)
    views.color.sum().backward()
    total = views.contribution.sum(-2)
    assert not views.contribution.requires_grad and (views.contribution >= 0).all() and (total > 0).any()
    # Measured: 1e-6 of the largest.
    assert float((total - shining.colors.grad[..., 0]).abs().max()) < 1e-5 * float(total.max())
