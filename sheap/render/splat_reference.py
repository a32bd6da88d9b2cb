"""The oracle: 2D Gaussian rasterisation in short plain torch, tile by tile, any dtype, gradients by autograd."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sheap.geometry.rotations import quat_wxyz_to_matrix
from sheap.render import splat_rules as rules
from sheap.render.types import Splats


@dataclass(frozen=True)
class ProjectedSplats:
    """G splats before one camera.

    ray_transforms: [G, 3, 3], the M of `splat_rules`. centers: [G, 2] pixels. extents: [G, 2] pixels, half of the box;
    radii: the same, rounded up to whole pixels, or 0 for a splat that is not drawn. depths: [G] metres. facing: [G],
    positive where the third column of the rotation faces the camera. normals: [G, 3] world, that column or its
    opposite.
    """

    ray_transforms: Tensor
    centers: Tensor
    extents: Tensor
    radii: Tensor
    depths: Tensor
    facing: Tensor
    normals: Tensor


Images = tuple[Tensor, Tensor, Tensor, Tensor]
"""Color [B, V, H, W, D] over the background, alpha and expected depth [B, V, H, W, 1], normal [B, V, H, W, 3]."""


@dataclass(frozen=True)
class SummedViews:
    """Weighted sums over splats: color [B, V, H, W, D], alpha, depth [B, V, H, W, 1], normal [B, V, H, W, 3]."""

    color: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor

    def over(self, backdrop: Tensor) -> Images:
        """The images with a backdrop [B, V, H, W, D] or [B, V, 1, 1, D] behind, their depth divided by alpha."""
        color = self.color + (1 - self.alpha) * backdrop
        return color, self.alpha, self.depth / self.alpha.clamp_min(rules.MIN_DEPTH_WEIGHT), self.normal


def rasterize(
    splats: Splats, world_to_cam: Tensor, K: Tensor, height: int, width: int, screen_offsets: Tensor
) -> tuple[SummedViews, Tensor]:
    """Scenes [B, G, ...] before cameras [B, V, ...]: their images, and contributions [B, V, G].

    screen_offsets: [B, V, G, 2], zeros that ask for positional gradients: pixels by which each splat is moved.
    """
    images: list[Tensor] = []
    contributions: list[Tensor] = []
    num_scenes, num_views = K.shape[:2]
    for scene in range(num_scenes):
        for view in range(num_views):
            projected = project(
                splats.means[scene], splats.quats_wxyz[scene], splats.scales[scene],
                world_to_cam[scene, view], K[scene, view], height, width,
            )  # fmt: skip
            projected = _shift(projected, screen_offsets[scene, view])
            ones = torch.ones_like(projected.depths)[:, None]
            features = torch.cat([splats.colors[scene], ones, projected.depths[:, None], projected.normals], -1)
            image, contribution = _composite(projected, splats.opacities[scene], features, height, width)
            images.append(image)
            contributions.append(contribution)
    num_colors = splats.colors.shape[-1]
    stacked = torch.stack(images).unflatten(0, (num_scenes, num_views))
    color, alpha, depth, normal = stacked.split([num_colors, 1, 1, 3], -1)
    return SummedViews(color, alpha, depth, normal), torch.stack(contributions).unflatten(0, (num_scenes, num_views))


def project(
    means: Tensor, quats_wxyz: Tensor, scales: Tensor, world_to_cam: Tensor, K: Tensor, height: int, width: int
) -> ProjectedSplats:
    """One scene [G, ...] before one camera ([4, 4], [3, 3])."""
    rotations = quat_wxyz_to_matrix(quats_wxyz)
    to_cam, translation = world_to_cam[:3, :3], world_to_cam[:3, 3]
    in_cam = means @ to_cam.T + translation
    axes = to_cam @ (rotations[..., :2] * scales[:, None, :])
    M = K @ torch.cat([axes, in_cam[..., None]], -1)
    m_x, m_y, m_z = M.unbind(-2)

    # The one-sigma circle (u, v, 1), u^2 + v^2 = 1, becomes a conic; diag(1, 1, -1) is the circle's own matrix.
    circle = M.new_tensor([1.0, 1.0, -1.0])
    curvature = (circle * m_z * m_z).sum(-1)
    drawn = (in_cam[:, 2] > rules.NEAR_PLANE) & (in_cam[:, 2] < rules.FAR_PLANE) & (curvature != 0)
    drawn = drawn & M.isfinite().all(-1).all(-1) & quats_wxyz.isfinite().all(-1)
    weights = circle / torch.where(drawn, curvature, torch.ones_like(curvature))[:, None]
    centers = torch.stack([(weights * m_x * m_z).sum(-1), (weights * m_y * m_z).sum(-1)], -1)
    squares = torch.stack([(weights * m_x * m_x).sum(-1), (weights * m_y * m_y).sum(-1)], -1)
    sigmas = (centers.square() - squares).detach().clamp_min(rules.MIN_SQUARED_EXTENT).sqrt()
    extents = rules.RADIUS_SIGMAS * sigmas
    radii = torch.ceil(extents)
    limits = M.new_tensor([width, height])
    drawn = drawn & ((centers + radii > 0) & (centers - radii < limits)).all(-1)

    normals = rotations[..., 2]
    facing = -((normals @ to_cam.T) * in_cam).sum(-1)
    normals = torch.where(facing[:, None] > 0, normals, -normals)
    radii = torch.where(drawn[:, None], radii, torch.zeros_like(radii))
    return ProjectedSplats(M, centers, extents, radii, in_cam[:, 2], facing, normals)


def _shift(projected: ProjectedSplats, offsets: Tensor) -> ProjectedSplats:
    """Every splat's mean and filter centre moved by some pixels [G, 2] at its depth."""
    columns = torch.zeros_like(projected.ray_transforms)
    columns[:, :2, 2] = offsets * projected.depths[:, None].detach()
    moved = {"ray_transforms": projected.ray_transforms + columns, "centers": projected.centers + offsets}
    return replace(projected, **moved)


def squared_distances(projected: ProjectedSplats, ids: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Of splats `ids` [K] from pixel centres [P, 2]: in sigmas on the splat's plane, and as the pixel filter has it.

    Two [K, P]. The first is infinite where the ray does not meet the plane.
    """
    m_x, m_y, m_z = projected.ray_transforms[ids].unbind(-2)
    x, y = pixels[:, 0, None], pixels[:, 1, None]
    hit = torch.linalg.cross(x * m_z[:, None] - m_x[:, None], y * m_z[:, None] - m_y[:, None])  # [K, P, 3]
    meets = hit[..., 2] != 0
    uv = hit[..., :2] / torch.where(meets, hit[..., 2], torch.ones_like(hit[..., 2]))[..., None]
    on_splat = torch.where(meets, uv.square().sum(-1), torch.full_like(hit[..., 2], torch.inf))
    on_image = rules.FILTER_INV_SQUARE * (projected.centers[ids][:, None] - pixels).square().sum(-1)
    return on_splat, on_image


def splat_alphas(projected: ProjectedSplats, opacities: Tensor, ids: Tensor, pixels: Tensor) -> Tensor:
    """Alpha [K, P] of the splats `ids` [K] at pixel centres [P, 2], before the cut at MIN_ALPHA."""
    on_splat, on_image = squared_distances(projected, ids, pixels)
    sigma = 0.5 * torch.where(on_splat <= on_image, on_splat, on_image)
    alpha = (opacities[ids][:, None] * torch.exp(-sigma)).clamp_max(rules.MAX_ALPHA)
    # A ray in the splat's plane sees nothing of it, not even through the pixel filter.
    return torch.where(on_splat.isinf(), torch.zeros_like(alpha), alpha)


def tile_ranges(projected: ProjectedSplats, height: int, width: int) -> tuple[Tensor, Tensor]:
    """First and one-past-last tile (x, y) that each splat counts in: two int64 [G, 2], equal if it is not drawn."""
    tiles = torch.tensor([-(-width // rules.TILE), -(-height // rules.TILE)], device=projected.centers.device)
    first = ((projected.centers - projected.radii) / rules.TILE).detach()
    last = ((projected.centers + projected.radii) / rules.TILE).detach()
    drawn = (projected.radii > 0).all(-1, keepdim=True)
    first, last = (torch.nan_to_num(edge).clamp(-1, 1 << 24) for edge in (first.floor(), last.ceil()))
    return first.long().clamp_min(0).minimum(tiles) * drawn, last.long().clamp_min(0).minimum(tiles) * drawn


def _composite(projected: ProjectedSplats, opacities: Tensor, features: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Features [G, C] summed front to back into [H, W, C], and what each splat added, [G]."""
    order = torch.argsort(projected.depths.detach(), stable=True)
    first, last = tile_ranges(projected, height, width)
    contribution = torch.zeros_like(opacities)
    rows = []
    for top in range(0, height, rules.TILE):
        row = []
        for left in range(0, width, rules.TILE):
            tile = torch.tensor([left // rules.TILE, top // rules.TILE], device=first.device)
            counts = ((first <= tile) & (tile < last)).all(-1)
            ids = order[counts[order]]
            bottom, right = min(top + rules.TILE, height), min(left + rules.TILE, width)
            pixels = pixel_centers(top, left, bottom, right, features)
            weights = _weights(splat_alphas(projected, opacities, ids, pixels))
            contribution = contribution.index_add(0, ids, weights.detach().sum(1))
            row.append((weights.T @ features[ids]).view(bottom - top, right - left, -1))
        rows.append(torch.cat(row, 1))
    return torch.cat(rows, 0), contribution.detach()


def _weights(alphas: Tensor) -> Tensor:
    """What each of K splats, front to back, adds to each pixel: [K, P] from alphas [K, P]."""
    alphas = torch.where(alphas >= rules.MIN_ALPHA, alphas, torch.zeros_like(alphas))
    after = torch.cumprod(1 - alphas, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    return torch.where(after > rules.MIN_TRANSMITTANCE, alphas * before, torch.zeros_like(alphas))


def pixel_centers(top: int, left: int, bottom: int, right: int, like: Tensor) -> Tensor:
    """[P, 2], (x, y) in pixels, row by row."""
    y = torch.arange(top, bottom, dtype=like.dtype, device=like.device) + 0.5
    x = torch.arange(left, right, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack([x.repeat(len(y)), y.repeat_interleave(len(x))], -1)
