"""How far is a backend from the float64 reference? Forward images and every gradient, on one scene.

The image is a discontinuous function of the splats: at an alpha of exactly 1/255, a transmittance of exactly 1e-4
or two equal depths, the least rounding decides. `settled_pixels` finds the pixels where such a decision is close,
by the reference's own numbers. They are left out of the comparison (their upstream gradient is zero) and counted.

    python -m benchmarks.splat_parity [--seeds 100]

measures the CPU backend, and prints what `tests/parity/test_cpu_against_reference.py` has written down.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.splat_scenes import NASTY_KINDS, nasty_scene
from sheap.geometry.cameras import Cameras
from sheap.render import RenderedViews, Splats, rasterize_splats, splat_reference
from sheap.render import splat_rules as rules
from sheap.render.splatting import Backend

IMAGES = ("color", "alpha", "depth", "normal")
PARAMETERS = ("means", "quats_wxyz", "scales", "opacities", "colors")
CLOSE = 1e-3
"""A decision is close when this relative change of alpha, transmittance or squared distance would turn it."""

HEAD = "head"
CUDA_LIMITS = {kind: (2e-3, 2e-2) for kind in (*NASTY_KINDS, HEAD)} | {"grazing": (2e-2, 2e-1), "huge": (5e-3, 1e-1)}
"""Largest allowed errors of gsplat's kernels (images and contributions, gradients). NOT measured: no CUDA machine has
run them yet. Guessed from the CPU kernel's errors, with room for gsplat's arithmetic, which is float32 around the
image's corner, not the splat's centre, with fast approximations. To be replaced by what `benchmarks.rasterize_cuda`
prints."""


@dataclass(frozen=True)
class Disagreement:
    """forward: per image, the largest difference over settled pixels (depth in metres). gradients: per parameter (and
    "screen", the positional gradients), the largest difference over the largest entry. contribution: the largest
    difference over the largest entry, less what the view's unsettled pixels may make of it (one each). settled: the
    part of all pixels that were compared."""

    forward: dict[str, float]
    gradients: dict[str, float]
    contribution: float
    settled: float

    @property
    def images(self) -> float:
        return max(self.forward.values())

    @property
    def shapes(self) -> float:
        """Of the gradients to means, rotations, scales and places on the image."""
        return max(error for name, error in self.gradients.items() if name not in ("opacities", "colors"))

    @property
    def paints(self) -> float:
        """Of the gradients to opacities and colours."""
        return max(self.gradients["opacities"], self.gradients["colors"])


def disagreement(
    splats: Splats,
    cameras: Cameras,
    background: Tensor,
    *,
    backend: Backend,
    device: str = "cpu",
    seed: int = 0,
    instead: Splats | None = None,
) -> Disagreement:
    """Compare a backend, in float32, with the reference in float64 on float32 splats [B, G, ...].

    instead: give the backend these splats, to see what a mistake would look like. "reference" is compared in float64.
    """
    settled = settled_pixels(splats, cameras)
    generator = torch.Generator().manual_seed(seed)
    num_colors = splats.colors.shape[-1]
    upstream = torch.randn(*settled.shape, num_colors + 5, generator=generator, dtype=torch.float64)
    upstream = upstream * settled[..., None]
    truth, wanted = _run(splats.to(torch.float64), cameras.to(torch.float64), background, upstream, "reference")
    given = splats if instead is None else instead
    kind = (device, torch.float64) if backend == "reference" else (device, torch.float32)
    found, got = _run(given.to(*kind), cameras.to(*kind), background.to(device), upstream.to(device), backend)
    forward = {}
    for name in IMAGES:
        difference = (getattr(found, name).detach().cpu().double() - getattr(truth, name).detach()).abs()
        forward[name] = float((difference * settled[..., None]).max())
    gradients = {}
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        difference = float((got[name].cpu().double() - gradient).abs().max())
        gradients[name] = difference / scale if scale > 0 else difference
    added = truth.contribution
    excess = (found.contribution.cpu().double() - added).abs() - (~settled).sum((-1, -2))[..., None]
    contribution = float(excess.max().clamp_min(0)) / max(float(added.max()), 1e-12)
    return Disagreement(forward, gradients, contribution, float(settled.double().mean()))


def _run(
    splats: Splats, cameras: Cameras, background: Tensor, upstream: Tensor, backend: Backend
) -> tuple[RenderedViews, dict[str, Tensor]]:
    leaves = Splats(*(getattr(splats, name).detach().clone().requires_grad_() for name in PARAMETERS))
    views = rasterize_splats(leaves, cameras, background=background.to(leaves.means.dtype), backend=backend)
    images = torch.cat([getattr(views, name) for name in IMAGES], -1)
    (images * upstream.to(images.dtype)).sum().backward()
    gradients = {name: getattr(leaves, name).grad for name in PARAMETERS}
    return views, gradients | {"screen": views.splat_positional_gradients}


def settled_pixels(splats: Splats, cameras: Cameras) -> Tensor:
    """[B, V, H, W] bool: where no decision of the rasteriser is close, for splats [B, G, ...] and cameras [B, V]."""
    splats, cameras = splats.to(torch.float64), cameras.to(torch.float64)
    views = []
    for scene in range(splats.means.shape[0]):
        for view in range(cameras.K.shape[1]):
            projected = splat_reference.project(
                splats.means[scene], splats.quats_wxyz[scene], splats.scales[scene],
                cameras.world_to_cam[scene, view], cameras.K[scene, view], cameras.height, cameras.width,
            )  # fmt: skip
            views.append(_settled_view(projected, splats.opacities[scene], cameras.height, cameras.width))
    return torch.stack(views).unflatten(0, (splats.means.shape[0], -1))


def _settled_view(projected: splat_reference.ProjectedSplats, opacities: Tensor, height: int, width: int) -> Tensor:
    order = torch.argsort(projected.depths, stable=True)
    first, last = splat_reference.tile_ranges(projected, height, width)
    # Where a slightly larger or smaller box would reach other tiles.
    wide_first, wide_last = _tile_ranges_with(projected, 1 + 1e-2, height, width)
    slim_first, slim_last = _tile_ranges_with(projected, -1 - 1e-2, height, width)
    unsure_of_radius = _is_close_to_integer(projected)
    settled = torch.ones(height, width, dtype=torch.bool)
    for top in range(0, height, rules.TILE):
        for left in range(0, width, rules.TILE):
            tile = torch.tensor([left // rules.TILE, top // rules.TILE])
            inside = lambda a, b: ((a <= tile) & (tile < b)).all(-1)  # noqa: B023, E731
            counted = inside(first, last)
            unsure = unsure_of_radius & (inside(wide_first, wide_last) ^ inside(slim_first, slim_last))
            ids = order[(counted | unsure)[order]]
            bottom, right = min(top + rules.TILE, height), min(left + rules.TILE, width)
            pixels = splat_reference.pixel_centers(top, left, bottom, right, projected.centers)
            settled[top:bottom, left:right] = _settled_tile(
                projected, opacities, ids, counted[ids], pixels
            ).view(bottom - top, right - left)  # fmt: skip
    return settled


def _settled_tile(
    projected: splat_reference.ProjectedSplats, opacities: Tensor, ids: Tensor, counted: Tensor, pixels: Tensor
) -> Tensor:
    """[P] bool, from the splats `ids` in depth order of which some count in this tile for sure."""
    if len(ids) == 0:
        return torch.ones(len(pixels), dtype=torch.bool)
    on_splat, on_image = splat_reference.squared_distances(projected, ids, pixels)
    raw = opacities[ids][:, None] * torch.exp(-0.5 * torch.minimum(on_splat, on_image))
    alphas = splat_reference.splat_alphas(projected, opacities, ids, pixels)
    near_cut = (raw / rules.MIN_ALPHA - 1).abs() < CLOSE
    near_clamp = (raw / rules.MAX_ALPHA - 1).abs() < 1e-5
    seen = alphas >= rules.MIN_ALPHA * (1 - CLOSE)
    kink = seen & ((on_splat - on_image).abs() < CLOSE * on_image)
    alphas = torch.where(seen & counted[:, None], alphas, torch.zeros_like(alphas))
    after = torch.cumprod(1 - alphas, 0)
    near_stop = (after / rules.MIN_TRANSMITTANCE - 1).abs() < 1e-2
    depths = projected.depths[ids]
    gaps = depths[1:] - depths[:-1]
    tie = torch.zeros_like(seen)
    tie[1:] = ((gaps > 0) & (gaps < 1e-6 * depths[1:]))[:, None] & seen[1:] & seen[:-1]
    turned = (projected.facing[ids].abs() < 1e-5)[:, None] & seen
    # What comes after the pixel's end decides nothing.
    open_before = torch.cat([torch.ones_like(after[:1]), after[:-1]]) > rules.MIN_TRANSMITTANCE * 0.98
    close = near_cut | near_clamp | kink | near_stop | tie | turned | (seen & ~counted[:, None])
    return ~(close & open_before).any(0)


def _tile_ranges_with(projected: splat_reference.ProjectedSplats, more: float, height: int, width: int) -> tuple[Tensor, Tensor]:
    radii = torch.where(projected.radii > 0, (projected.radii + more).clamp_min(1e-6), projected.radii)
    grown = splat_reference.ProjectedSplats(**{**vars(projected), "radii": radii})
    return splat_reference.tile_ranges(grown, height, width)


def _is_close_to_integer(projected: splat_reference.ProjectedSplats) -> Tensor:
    """[G] bool: whether the box's rounding up, or its reaching a tile, hangs on a small change."""
    wanted = projected.extents
    rounding = ((wanted - wanted.round()).abs() < 1e-2 * wanted.clamp_min(1)).any(-1)
    edges = torch.cat([projected.centers - projected.radii, projected.centers + projected.radii], -1) / rules.TILE
    reaching = ((edges - edges.round()).abs() < 1e-3).any(-1)
    return rounding | reaching


def measure(kind: str, seeds: range, *, backend: Backend, device: str = "cpu", **shape: int) -> list[Disagreement]:
    """The backend on one scene of a kind per seed, of the default sizes or `shape` (see `nasty_scene`)."""
    found = []
    for seed in seeds:
        splats, cameras, background = nasty_scene(kind, seed=seed, num_colors=3 + seed % 2, **shape)
        found.append(disagreement(splats, cameras, background, backend=backend, device=device, seed=seed))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, help="scenes a kind")
    options = parser.parse_args()
    print("largest (and median) error of: images, gradients to shapes, gradients to opacity and colour, contribution")
    for kind in NASTY_KINDS:
        found = measure(kind, range(1000, 1000 + options.seeds), backend="cpu")
        columns = ([getattr(one, name) for one in found] for name in ("images", "shapes", "paints", "contribution"))
        figures = "  ".join(f"{max(column):.1e} ({statistics.median(column):.1e})" for column in columns)
        print(f"{kind:12s} {figures}  least part settled {min(one.settled for one in found):.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
