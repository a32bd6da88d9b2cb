"""On a CUDA machine: gsplat against the float64 reference, and the times of forward and backward.

    python -m benchmarks.rasterize_cuda [--seeds N] [--output docs/benchmarks]

Prints the largest errors over nasty scenes and a head beside their limits (`tests/parity/test_gsplat_cuda.py` checks
the same ones), then times head scenes. --output also writes a page (rasterize_cuda.md) and its figures (.json).
Exit status 1 if a limit is exceeded, 2 without CUDA or where gsplat does not work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.splat_parity import CUDA_LIMITS, HEAD, PARAMETERS, Disagreement, disagreement, measure
from benchmarks.splat_scenes import NASTY_KINDS, head_camera, head_scene, head_splats
from sheap.render import Splats, rasterize_splats
from sheap.render.splatting import Backend, why_no_gsplat


@dataclass(frozen=True)
class Parity:
    """The largest errors over scenes of one kind, and whether they are within CUDA_LIMITS."""

    kind: str
    images: float
    gradients: float
    contribution: float
    passed: bool


@dataclass(frozen=True)
class Timing:
    num_splats: int
    size: int
    batch: int
    forward_ms: float
    backward_ms: float
    peak_mb: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="scenes a kind")
    parser.add_argument("--output", type=Path, help="a folder for rasterize_cuda.md and rasterize_cuda.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.rasterize_cuda: no CUDA device here", file=sys.stderr)
        return 2
    reason = why_no_gsplat()
    if reason is not None:
        print(f"benchmarks.rasterize_cuda: gsplat does not work here: {reason}", file=sys.stderr)
        return 2
    hardware = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    print(hardware)
    parities, timings = [], []
    for kind in (*NASTY_KINDS, HEAD):
        parities.append(parity(kind, options.seeds))
        print(_line(parities[-1]), flush=True)
    for num_splats in (20_000, 50_000):
        for size in (112, 224, 512):
            for batch in (1, 8, 64):
                timings.append(timing(num_splats, size, batch))
                print("  ".join(f"{key} {value:.4g}" for key, value in asdict(timings[-1]).items()), flush=True)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        report = {
            "hardware": hardware,
            "parity": [asdict(row) for row in parities],
            "times": [asdict(row) for row in timings],
        }
        (options.output / "rasterize_cuda.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.output / "rasterize_cuda.md").write_text(page(hardware, parities, timings))
    return 0 if all(row.passed for row in parities) else 1


def parity(kind: str, num_seeds: int, *, backend: Backend = "gsplat", device: str = "cuda") -> Parity:
    """A backend against the reference on scenes of one of NASTY_KINDS, or on HEAD."""
    found: list[Disagreement]
    if kind == HEAD:
        found = [disagreement(*head_scene(1500, 48), backend=backend, device=device)]
    else:
        found = measure(kind, range(num_seeds), backend=backend, device=device, batch=2, num_views=2)
    images = max(one.images for one in found)
    gradients = max(max(one.shapes, one.paints) for one in found)
    contribution = max(one.contribution for one in found)
    image_limit, gradient_limit = CUDA_LIMITS[kind]
    passed = images < image_limit and contribution < image_limit and gradients < gradient_limit
    return Parity(kind, images, gradients, contribution, passed)


def timing(
    num_splats: int, size: int, batch: int, *, repeats: int = 20, backend: Backend = "gsplat", device: str = "cuda"
) -> Timing:
    """Milliseconds of forward and backward, the median of `repeats` after three, and the peak of GPU memory."""
    splats = head_splats(num_splats, batch=batch).to(device)
    leaves = Splats(*(getattr(splats, name).requires_grad_() for name in PARAMETERS))
    camera, background = head_camera(size).to(device), torch.ones(3, device=device)
    is_cuda = leaves.means.is_cuda

    def now() -> float:
        if is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    forward, backward = [], []
    for _ in range(repeats + 3):
        start = now()
        views = rasterize_splats(leaves, camera, background=background, backend=backend)
        value = views.color.square().mean() + views.depth.mean() + views.normal.square().mean()
        middle = now()
        value.backward()
        backward.append(now() - middle)
        forward.append(middle - start)
    forward_ms, backward_ms = (1e3 * statistics.median(seconds[3:]) for seconds in (forward, backward))
    peak_mb = torch.cuda.max_memory_allocated() / 2**20 if is_cuda else 0.0
    return Timing(num_splats, size, batch, forward_ms, backward_ms, peak_mb)


def page(hardware: str, parities: list[Parity], timings: list[Timing]) -> str:
    """Markdown."""
    times = [
        f"| {row.num_splats:,} | {row.size} | {row.batch} | {row.forward_ms:.2f} | {row.backward_ms:.2f} | {row.peak_mb:.0f} |"
        for row in timings
    ]
    return "\n".join(
        [
            "# gsplat on CUDA against the float64 reference", "",
            f"Written by `python -m benchmarks.rasterize_cuda --output docs/benchmarks`. {hardware}.", "",
            *(f"- {_line(row)}" for row in parities), "",
            "| splats | side | batch | forward ms | backward ms | peak MB |", "|---:|---:|---:|---:|---:|---:|", *times,
        ]
    ) + "\n"  # fmt: skip


def _line(row: Parity) -> str:
    images, gradients = CUDA_LIMITS[row.kind]
    return (
        f"{row.kind}: images {row.images:.1e} and contributions {row.contribution:.1e} (limit {images:.0e}), "
        f"gradients {row.gradients:.1e} (limit {gradients:.0e}): {'ok' if row.passed else 'FAILED'}"
    )


if __name__ == "__main__":
    sys.exit(main())
