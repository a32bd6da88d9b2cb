"""Our rules against gsplat itself, as far as that runs without CUDA: its plain-torch projection, and the call we make.

gsplat's kernels need a GPU (`test_gsplat_cuda.py`). Its plain-torch projection does not, and decides what a splat is:
ray transform, centre, box, depth, normal. A stand-in for its rasteriser, which takes the arguments that gsplat
takes and computes with our reference, then tests everything around the call.
"""

from __future__ import annotations

import inspect
from typing import Any

import gsplat
import pytest
import torch
from gsplat.cuda._torch_impl_2dgs import _fully_fused_projection_2dgs
from torch import Tensor

from benchmarks.splat_parity import PARAMETERS
from benchmarks.splat_scenes import NASTY_KINDS, nasty_scene
from sheap.geometry.cameras import Cameras
from sheap.render import Splats, rasterize_splats, splat_gsplat, splat_reference, splatting
from sheap.render import splat_rules as rules


@pytest.mark.parametrize("kind", [kind for kind in NASTY_KINDS if kind != "odd_quats"])
def test_projection_is_gsplats(kind: str):
    splats, cameras, _ = nasty_scene(kind, seed=60, num_views=2)
    splats, cameras = splats.to(torch.float64), cameras.to(torch.float64)
    # gsplat's plain torch multiplies the third axis, its CUDA kernel does not: with 1 they are the same.
    scales = torch.cat([splats.scales, torch.ones_like(splats.scales[..., :1])], -1)
    radii, centers, depths, ray_transforms, normals = _fully_fused_projection_2dgs(
        splats.means, splats.quats_wxyz, scales, cameras.world_to_cam, cameras.K, cameras.width, cameras.height,
        near_plane=rules.NEAR_PLANE, far_plane=rules.FAR_PLANE,
    )  # fmt: skip
    num_drawn = 0
    for view in range(2):
        ours = splat_reference.project(
            splats.means[0], splats.quats_wxyz[0], splats.scales[0],
            cameras.world_to_cam[0, view], cameras.K[0, view], cameras.height, cameras.width,
        )  # fmt: skip
        # Its test of the image's borders is made per axis and drops that axis's radius only; a splat that has lost
        # either is not drawn, there as here.
        drawn = (radii[0, view] > 0).all(-1)
        assert torch.equal(drawn, (ours.radii > 0).all(-1))
        assert torch.equal(radii[0, view][drawn].double(), ours.radii[drawn])
        assert torch.allclose(centers[0, view][drawn], ours.centers[drawn], rtol=1e-9)
        assert torch.allclose(depths[0, view], ours.depths)
        assert torch.allclose(ray_transforms[0, view], ours.ray_transforms)
        in_world = normals[0, view] @ cameras.world_to_cam[0, view, :3, :3]
        # To the rounding of the cameras' float32 rotations, whose transpose is not quite their inverse.
        assert torch.allclose(in_world, ours.normals, atol=1e-6)
        num_drawn += int(drawn.sum())
    assert num_drawn > 5


def stand_in_rasterization(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, near_plane: float, far_plane: float, tile_size: int, packed: bool, render_mode: str,
) -> tuple[Tensor, Tensor, Tensor, None, None, None, dict[str, Tensor]]:  # fmt: skip
    """gsplat's `rasterization_2dgs`, by the reference: same arguments, same outputs, same differentiable middle."""
    B, V = viewmats.shape[:2]
    G = means.shape[1]
    assert means.shape == (B, G, 3) and quats.shape == (B, G, 4) and opacities.shape == (B, G)
    assert scales.shape == (B, G, 3) and (scales[..., 2] == 1).all(), "the kernel takes the third scale as 1"
    assert colors.shape[:3] == (B, V, G) and colors.shape[-1] in splat_gsplat.KERNEL_CHANNELS
    assert colors.isfinite().all() and Ks.shape == (B, V, 3, 3) and not packed
    assert render_mode == "RGB" and tile_size == rules.TILE
    assert (near_plane, far_plane) == (rules.NEAR_PLANE, rules.FAR_PLANE)
    assert (quats.norm(dim=-1) > 0).all(), "gsplat divides by the length"
    projected = [
        [splat_reference.project(means[b], quats[b], scales[b, :, :2], viewmats[b, v], Ks[b, v], height, width)
         for v in range(V)] for b in range(B)
    ]  # fmt: skip
    stack = lambda name: torch.stack([torch.stack([getattr(p, name) for p in row]) for row in projected])  # noqa: E731
    seen = {
        "ray_transforms": stack("ray_transforms"), "means2d": stack("centers"),
        "depths": stack("depths"), "radii": stack("radii"),
    }  # fmt: skip
    images = []
    for b in range(B):
        for v in range(V):
            one = splat_reference.ProjectedSplats(**{
                **vars(projected[b][v]),
                "ray_transforms": seen["ray_transforms"][b, v], "centers": seen["means2d"][b, v],
            })  # fmt: skip
            features = torch.cat([colors[b, v], torch.ones(G, 1), one.normals], -1)
            images.append(splat_reference._composite(one, opacities[b], features, height, width)[0])
    color, alpha, normal = torch.stack(images).unflatten(0, (B, V)).split([colors.shape[-1], 1, 3], -1)
    return color, alpha, normal, None, None, None, seen


def test_the_call_fits_the_installed_gsplat(monkeypatch: pytest.MonkeyPatch):
    """Every argument by a name that `rasterization_2dgs` has, and all images of a batch in one call."""
    signature = inspect.signature(gsplat.rasterization_2dgs)
    calls = []

    def recorded(**arguments: Any) -> Any:
        calls.append(signature.bind(**arguments).arguments)
        return stand_in_rasterization(**arguments)

    monkeypatch.setattr(gsplat, "rasterization_2dgs", recorded)
    monkeypatch.setattr(splatting, "_choose", lambda backend, device: backend)
    splats, cameras, background = nasty_scene("odd_quats", seed=64, batch=4, num_views=3, num_splats=30, height=20, width=24)
    grid = Splats(*(getattr(splats, name).unflatten(0, (2, 2)).requires_grad_() for name in PARAMETERS))
    views_of_grid = [tensor.unflatten(0, (2, 2)) for tensor in (cameras.world_to_cam, cameras.K)]
    cameras_of_grid = Cameras(*views_of_grid, 20, 24)
    found = rasterize_splats(grid, cameras_of_grid, background=background.unflatten(0, (2, 2)), backend="gsplat")
    found.color.square().sum().backward()
    assert len(calls) == 1 and calls[0]["viewmats"].shape == (4, 3, 4, 4)
    assert found.contribution.shape == (2, 2, 3, 30) and len(calls) == 2
    wanted = rasterize_splats(grid, cameras_of_grid, background=background.unflatten(0, (2, 2)), backend="reference")
    wanted.color.square().sum().backward()
    for name in ("color", "alpha", "depth", "normal", "contribution", "splat_positional_gradients"):
        a, b = getattr(found, name).detach(), getattr(wanted, name).detach()
        assert a.shape == b.shape and float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max())), name


@pytest.mark.parametrize("kind", ["cloud", "tiny", "odd_quats"])
@pytest.mark.parametrize("num_colors", [3, 4])
def test_what_we_make_of_gsplats_answer(kind: str, num_colors: int, monkeypatch: pytest.MonkeyPatch):
    """Images, all gradients, contributions and positional gradients through the wrapper equal the reference's."""
    monkeypatch.setattr(gsplat, "rasterization_2dgs", stand_in_rasterization)
    splats, cameras, _ = nasty_scene(
        kind, seed=61, batch=2, num_views=2, num_splats=30, num_colors=num_colors, height=20, width=24
    )
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 2, 20, 24, num_colors + 5, generator=generator)

    def gradients(leaves: Splats, summed: splat_reference.SummedViews) -> list[Tensor]:
        images = torch.cat([summed.color, summed.alpha, summed.depth, summed.normal], -1)
        (images * weights).sum().backward()
        return [images.detach(), *(getattr(leaves, name).grad for name in PARAMETERS)]

    leaves = [Splats(*(getattr(splats, name).clone().requires_grad_() for name in PARAMETERS)) for _ in range(2)]
    summed, contribution, positional = splat_gsplat.rasterize(
        leaves[0], cameras.world_to_cam, cameras.K, 20, 24, wants_gradients=True
    )
    assert positional() is None
    found = [*gradients(leaves[0], summed), positional(), contribution()]
    offsets = torch.zeros(2, 2, 30, 2, requires_grad=True)
    summed, contribution = splat_reference.rasterize(leaves[1], cameras.world_to_cam, cameras.K, 20, 24, offsets)
    expected = [*gradients(leaves[1], summed), offsets.grad, contribution]
    for name, a, b in zip(("images", *PARAMETERS, "screen", "contribution"), found, expected, strict=True):
        # The same float32 arithmetic, but for the order of some sums.
        assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max()), name


def test_positional_gradients_exist_whatever_is_trained(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gsplat, "rasterization_2dgs", stand_in_rasterization)
    splats, cameras, _ = nasty_scene("cloud", seed=62)
    colored = splats.replace(colors=splats.colors.clone().requires_grad_())
    summed, _, positional = splat_gsplat.rasterize(colored, cameras.world_to_cam, cameras.K, 40, 56, wants_gradients=True)
    summed.alpha.sum().backward()
    assert (positional() != 0).any() and not positional().requires_grad


def test_too_many_colors_for_gsplat_are_named(monkeypatch: pytest.MonkeyPatch):
    splats, cameras, _ = nasty_scene("cloud", seed=63, num_colors=512)
    with pytest.raises(ValueError, match=r"splats\.colors"):
        splat_gsplat.rasterize(splats, cameras.world_to_cam, cameras.K, 40, 56, wants_gradients=False)
