"""The rasteriser as a node of torch's graph."""

from __future__ import annotations

import pytest
import torch

from benchmarks.splat_scenes import nasty_scene
from sheap.render import rasterize_splats
from tests.render.made_splats import FIELDS, leaves, loss


def test_only_what_requires_a_gradient_gets_one(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=16)
    colored = splats.replace(colors=splats.colors.clone().requires_grad_())
    views = rasterize_splats(colored, cameras, background=background, backend=backend)
    loss(views).backward()
    assert colored.colors.grad is not None and splats.means.grad is None
    assert (views.splat_positional_gradients != 0).any()
    with torch.no_grad():
        assert not rasterize_splats(colored, cameras, background=background, backend=backend).color.requires_grad


def test_backward_twice_gives_the_same(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=17)
    fresh = leaves(splats)
    value = loss(rasterize_splats(fresh, cameras, background=background, backend=backend))
    first = torch.autograd.grad(value, fresh.means, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(value, fresh.means)[0])


def test_changing_an_input_before_backward_is_an_error():
    splats, cameras, background = nasty_scene("cloud", seed=18)
    fresh = leaves(splats)
    value = loss(rasterize_splats(fresh, cameras, background=background, backend="cpu"))
    with torch.no_grad():
        fresh.means.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_second_derivatives_are_refused_not_wrong():
    splats, cameras, background = nasty_scene("cloud", seed=19)
    fresh = leaves(splats)
    value = loss(rasterize_splats(fresh, cameras, background=background, backend="cpu"))
    (gradient,) = torch.autograd.grad(value, fresh.means, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_changing_an_image_that_backward_reads_is_an_error():
    """Depth and alpha are kept for the backward pass: multiplied in place, they would give wrong gradients."""
    splats, cameras, background = nasty_scene("cloud", seed=18)
    for name in ("alpha", "depth"):
        views = rasterize_splats(leaves(splats), cameras, background=background, backend="cpu")
        value = views.color.sum()
        with torch.no_grad():
            getattr(views, name).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


def test_background_has_its_gradient_and_splats_theirs_without_it(backend: str):
    splats, cameras, _ = nasty_scene("cloud", seed=19, batch=2, num_views=2)
    gradients = []
    for wants in (True, False):
        fresh = leaves(splats)
        background = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(wants)
        views = rasterize_splats(fresh, cameras, background=background, backend=backend)
        loss(views).backward()
        gradients.append(fresh.means.grad)
        if wants:
            wanted = (2 * views.color * (1 - views.alpha)).sum((0, -2, -3)).detach()  # of the loss's squared colour
            assert torch.allclose(background.grad, wanted, rtol=1e-4)
    assert torch.equal(*gradients)


def test_images_as_background_give_the_reference_s_gradients():
    """Every pixel before its own background: the CPU kernel composites for itself, and takes the gradient back."""
    splats, cameras, _ = nasty_scene("cloud", seed=23, batch=2, num_views=2)
    image = torch.rand(2, 2, 40, 56, 3, generator=torch.Generator().manual_seed(0))
    found = []
    for name in ("cpu", "reference"):
        fresh, background = leaves(splats), image.clone().requires_grad_()
        loss(rasterize_splats(fresh, cameras, background=background, backend=name)).backward()
        found.append([background.grad, *(getattr(fresh, field).grad for field in FIELDS)])
    for field, ours, theirs in zip(("background", *FIELDS), *found, strict=True):
        # Measured: 7e-6; with the backgrounds of the neighbouring pixels, 1e-2 and more.
        assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max()), field
