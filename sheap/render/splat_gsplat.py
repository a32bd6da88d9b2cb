"""The CUDA backend: gsplat's `rasterization_2dgs`, all scenes and views in one call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sheap.render import splat_rules as rules
from sheap.render.splat_reference import SummedViews
from sheap.render.types import Splats

KERNEL_CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512)
"""Channel counts gsplat's kernels are built for. It pads others with uninitialised memory, where a NaN would reach the
gradients: we pad with zeros ourselves."""


def rasterize(
    scenes: Splats, world_to_cam: Tensor, K: Tensor, height: int, width: int, wants_gradients: bool
) -> tuple[SummedViews, Callable[[], Tensor], Callable[[], Tensor | None]]:
    """Scenes [B, G, ...] before cameras [B, V, ...]: images, and getters of contributions and positional gradients."""
    num_views = K.shape[1]
    if wants_gradients and not scenes.means.requires_grad:  # positional gradients exist whatever is being trained
        scenes = scenes.replace(means=scenes.means.detach().requires_grad_())
    # Depth rides along as a colour. gsplat's own depth mode also derives normals from the depth image, which nobody
    # reads.
    depths = _center_depths(scenes.means, world_to_cam)[..., None]
    colors = scenes.colors[:, None].expand(-1, num_views, -1, -1)
    sums, alpha, normal, seen = _call(scenes, torch.cat([colors, depths], -1), world_to_cam, K, height, width)
    color, depth = sums.split([scenes.colors.shape[-1], 1], -1)
    ray_transforms, centers = seen["ray_transforms"], seen["means2d"]
    if wants_gradients:
        ray_transforms.retain_grad()
        centers.retain_grad()

    def positional_gradients() -> Tensor | None:
        if ray_transforms.grad is None or centers.grad is None:
            return None
        # Moving a splat by one pixel at its depth adds that depth to M's last column. gsplat's own `gradient_2dgs` is
        # this product written by whichever pixel comes last, before the others have added theirs.
        moved = ray_transforms.grad[..., :2, 2] * seen["depths"][..., None] + centers.grad
        drawn = (seen["radii"] > 0).all(-1, keepdim=True)
        return torch.where(drawn, moved, torch.zeros_like(moved)).detach()

    def contribution() -> Tensor:
        # A splat's summed weight is the gradient of the whole image to its brightness.
        with torch.enable_grad():
            brightness = torch.ones_like(depths, requires_grad=True)
            detached = Splats(*(tensor.detach() for tensor in vars(scenes).values()))
            image, _, _, _ = _call(detached, brightness, world_to_cam, K, height, width)
            (gradient,) = torch.autograd.grad(image.sum(), brightness)
        return gradient.squeeze(-1)

    return SummedViews(color, alpha, depth, normal), contribution, positional_gradients


def _call(
    scenes: Splats, features: Tensor, world_to_cam: Tensor, K: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Features [B, V, G, C] summed into [B, V, H, W, C], alpha, world normals, and gsplat's intermediate tensors."""
    from gsplat import rasterization_2dgs

    num_features = features.shape[-1]
    padding = next((c for c in KERNEL_CHANNELS if c >= num_features), None)
    if padding is None:
        raise ValueError(f"splats.colors: gsplat takes at most {KERNEL_CHANNELS[-1] - 1} channels")
    features = torch.nn.functional.pad(features, (0, padding - num_features))
    # The kernels take the third scale as 1, gsplat's plain-torch code multiplies by it: 1 is right for both.
    scales = torch.cat([scenes.scales, torch.ones_like(scenes.scales[..., :1])], -1)
    # A zero quaternion is the identity here; gsplat divides by its length.
    is_zero = scenes.quats_wxyz.norm(dim=-1, keepdim=True) <= 1e-12
    identity = scenes.quats_wxyz.new_tensor([1.0, 0.0, 0.0, 0.0])
    quats = torch.where(is_zero, identity, scenes.quats_wxyz)
    # gsplat makes one of its tensors on the current CUDA device, whichever ours are on.
    with torch.cuda.device_of(scenes.means):
        sums, alpha, normal, _, _, _, seen = rasterization_2dgs(
            means=scenes.means, quats=quats, scales=scales, opacities=scenes.opacities, colors=features,
            viewmats=world_to_cam, Ks=K, width=width, height=height, near_plane=rules.NEAR_PLANE,
            far_plane=rules.FAR_PLANE, tile_size=rules.TILE, packed=False, render_mode="RGB",
        )  # fmt: skip
    return sums[..., :num_features], alpha, normal, seen


def _center_depths(means: Tensor, world_to_cam: Tensor) -> Tensor:
    """Depths [B, V, G] of means [B, G, 3], differentiable."""
    forward = world_to_cam[..., 2, :3]
    return torch.einsum("bgi,bvi->bvg", means, forward) + world_to_cam[..., 2, 3, None]
