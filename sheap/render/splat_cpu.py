"""The CPU backend: compiled kernels (numba), one autograd function, no compiler needed on the user's machine.

Forward: project every splat, sort each image's splats by depth, hand them to tiles, composite tile by tile, put the
background behind. Backward: tile by tile from the last contributor to the first, every (splat, tile) writing its
gradients into a slot of its own; then each splat sums its slots in a fixed order. No two threads write one number, so
the result does not depend on how many threads there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sheap.render.splat_cpu_lists import count_tiles, fill_tiles, sum_slots
from sheap.render.splat_cpu_project import (
    NUM_COEFFICIENTS,
    NUM_RAY_GRADIENTS,
    project_splats,
    project_splats_backward,
)
from sheap.render.splat_cpu_tiles import backward_tiles, forward_tiles
from sheap.render.splat_reference import Images
from sheap.render.splat_rules import TILE
from sheap.render.threads import for_each_range
from sheap.render.types import Splats


def rasterize(
    splats: Splats, world_to_cam: Tensor, K: Tensor, height: int, width: int, backdrop: Tensor, screen_offsets: Tensor
) -> tuple[Images, Tensor]:
    """As `splat_reference.rasterize` and `SummedViews.over`, in float32 on the CPU, from and to the splats' device."""
    device = splats.means.device
    scene = (splats.means, splats.quats_wxyz, splats.scales, splats.opacities, splats.colors)
    on_cpu = [tensor.cpu() for tensor in (*scene, screen_offsets, backdrop, world_to_cam, K)]
    *images, contribution = (tensor.to(device) for tensor in _Rasterize.apply(*on_cpu, height, width))
    return tuple(images), contribution


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, offsets: Tensor,
        backdrop: Tensor, world_to_cam: Tensor, K: Tensor, height: int, width: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        scene = tuple(_numpy(tensor) for tensor in (means, quats, scales, opacities, colors))
        means_np, quats_np, scales_np, opacities_np, colors_np = scene
        cameras = (_numpy(world_to_cam), _numpy(K))
        num_scenes, num_splats, num_colors = colors.shape
        num_views = K.shape[1]
        num_images = num_scenes * num_views
        num_tiles = -(-height // TILE) * -(-width // TILE)

        coefficients = np.empty((num_images, num_splats, NUM_COEFFICIENTS), np.float32)
        features = np.empty((num_images, num_splats, 4), np.float32)
        boxes = np.empty((num_images, num_splats, 4), np.int32)
        first_slots = np.empty((num_images, num_splats), np.int32)
        totals = np.empty(num_images, np.int64)

        def project(start: int, stop: int) -> None:
            project_splats(start, stop, means_np, quats_np, scales_np, opacities_np, *cameras, height, width,
                           coefficients, features, boxes)  # fmt: skip

        for_each_range(project, num_images * num_splats, ranges_per_thread=1)

        def count(start: int, stop: int) -> None:
            count_tiles(start, stop, boxes, first_slots, totals)

        for_each_range(count, num_images)
        image_starts = np.concatenate([[0], np.cumsum(totals)])
        num_slots = int(image_starts[-1])
        tile_starts = np.empty(num_images * num_tiles + 1, np.int64)
        tile_starts[-1] = num_slots
        tile_ids, tile_slots = np.empty(num_slots, np.int32), np.empty(num_slots, np.int64)

        def fill(start: int, stop: int) -> None:
            fill_tiles(start, stop, boxes, features, first_slots, image_starts, width, height,
                       tile_starts, tile_ids, tile_slots)  # fmt: skip

        for_each_range(fill, num_images)

        backdrop_np = _numpy(backdrop.flatten(0, 1))
        pixels = (num_images, height, width)
        color, normal = np.empty((*pixels, num_colors), np.float32), np.empty((*pixels, 3), np.float32)
        alpha, depth = (np.empty((*pixels, 1), np.float32) for _ in range(2))
        transmittance, last = np.empty(pixels, np.float32), np.empty(pixels, np.int32)
        slot_weights = np.empty(num_slots, np.float32)

        def composite(start: int, stop: int) -> None:
            forward_tiles(start, stop, coefficients, features, colors_np, boxes, tile_starts, tile_ids, tile_slots,
                          num_views, height, width, backdrop_np, color, alpha, depth, normal, transmittance, last,
                          slot_weights)  # fmt: skip

        for_each_range(composite, num_images * num_tiles)
        contribution = np.empty((num_images, num_splats), np.float32)

        def sum_weights(start: int, stop: int) -> None:
            sum_slots(start, stop, boxes, first_slots, image_starts, slot_weights, contribution)

        for_each_range(sum_weights, num_images * num_splats, ranges_per_thread=1)

        ctx.scene, ctx.cameras, ctx.size = scene, cameras, (height, width)
        ctx.projected = (coefficients, features, boxes, first_slots, image_starts)
        ctx.tiles = (tile_starts, tile_ids, tile_slots, transmittance, last)
        outputs = (color, alpha, depth, normal, contribution)
        images = [torch.from_numpy(array).unflatten(0, (num_scenes, num_views)) for array in outputs]
        ctx.mark_non_differentiable(images[-1])
        # Saved so that changing one in place before the backward pass is an error.
        ctx.save_for_backward(means, quats, scales, opacities, colors, backdrop, images[1], images[2])
        return tuple(images)

    @staticmethod
    @once_differentiable
    def backward(  # pyrefly: ignore[bad-override]  # torch declares *grads, and passes one for each output
        ctx: Any, g_color: Tensor, g_alpha: Tensor, g_depth: Tensor, g_normal: Tensor, _g_contribution: Tensor
    ) -> tuple[Tensor | None, ...]:
        *_, backdrop, alpha, depth = ctx.saved_tensors
        means, quats, scales, _opacities, colors = ctx.scene
        world_to_cam, K = ctx.cameras
        height, width = ctx.size
        coefficients, features, boxes, first_slots, image_starts = ctx.projected
        tile_starts, tile_ids, tile_slots, transmittance, last = ctx.tiles
        num_scenes, num_splats, num_colors = colors.shape
        num_views = K.shape[1]
        drawn = [_numpy(image.flatten(0, 1)) for image in (backdrop, alpha, depth)]
        upstream = [_numpy(image.flatten(0, 1)) for image in (g_color, g_alpha, g_depth, g_normal)]
        slot_gradients = np.empty((len(tile_ids), NUM_RAY_GRADIENTS + 4 + num_colors), np.float32)

        def back_composite(start: int, stop: int) -> None:
            backward_tiles(start, stop, coefficients, features, colors, boxes, tile_starts, tile_ids, tile_slots,
                           num_views, height, width, *drawn, transmittance, last, *upstream,
                           slot_gradients)  # fmt: skip

        for_each_range(back_composite, len(tile_starts) - 1)
        gradients = [np.empty_like(array) for array in ctx.scene]
        g_means, g_quats, g_scales, g_opacities, g_colors = gradients
        g_offsets = np.empty((num_scenes * num_views, num_splats, 2), np.float32)

        def back_project(start: int, stop: int) -> None:
            project_splats_backward(
                start, stop, means, quats, scales, world_to_cam, K, features, boxes, first_slots, image_starts,
                slot_gradients, g_means, g_quats, g_scales, g_opacities, g_colors, g_offsets,
            )  # fmt: skip

        for_each_range(back_project, num_scenes * num_splats, ranges_per_thread=1)
        offsets = torch.from_numpy(g_offsets).unflatten(0, (num_scenes, num_views))
        g_backdrop = None
        if ctx.needs_input_grad[6]:
            g_backdrop = ((1 - alpha) * g_color).sum_to_size(backdrop.shape)
        return *(torch.from_numpy(array) for array in gradients), offsets, g_backdrop, None, None, None, None


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()
