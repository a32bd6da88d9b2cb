"""On a CUDA machine: gsplat against the float64 reference, and the times of forward and backward.

    python -m benchmarks.rasterize_cuda [--seeds N] [--output FILE.json]

Runs the parity suite of `tests/parity/test_gsplat_cuda.py` over NASTY_KINDS, prints the largest differences beside
their limits, then times head scenes. Exit status 1 if a limit is exceeded, 2 without CUDA or gsplat.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

from benchmarks.splat_parity import CUDA_LIMITS, PARAMETERS, disagreement
from benchmarks.splat_scenes import NASTY_KINDS, head_camera, head_splats, nasty_scene
from sheap.render import Splats, rasterize_splats
from sheap.render.splatting import why_no_gsplat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="scenes a kind")
    parser.add_argument("--output", type=Path, help="also write the figures here, as JSON")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.rasterize_cuda: no CUDA device here", file=sys.stderr)
        return 2
    reason = why_no_gsplat()
    if reason is not None:
        print(f"benchmarks.rasterize_cuda: gsplat does not work here: {reason}", file=sys.stderr)
        return 2
    hardware = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
    print(hardware)
    parity = [_parity(kind, options.seeds) for kind in NASTY_KINDS]
    times = [
        _time(num_splats, size, batch)
        for num_splats in (20_000, 50_000)
        for size in (112, 224, 512)
        for batch in (1, 8, 64)
    ]
    if options.output is not None:
        options.output.write_text(json.dumps({"hardware": hardware, "parity": parity, "times": times}, indent=1) + "\n")
    return 0 if all(row["passed"] for row in parity) else 1


def _parity(kind: str, num_seeds: int) -> dict[str, object]:
    images = gradients = 0.0
    for seed in range(num_seeds):
        splats, cameras, background = nasty_scene(kind, seed=seed, batch=2, num_views=2, num_colors=3 + seed % 2)
        found = disagreement(splats, cameras, background, backend="gsplat", device="cuda", seed=seed)
        images = max(images, *found.forward.values())
        gradients = max(gradients, *found.gradients.values())
    image_limit, gradient_limit = CUDA_LIMITS[kind]
    passed = images < image_limit and gradients < gradient_limit
    figures = f"images {images:.1e} < {image_limit:.0e}, gradients {gradients:.1e} < {gradient_limit:.0e}"
    print(f"{kind:12s} {figures}: {'ok' if passed else 'FAILED'}")
    return {"kind": kind, "images": images, "gradients": gradients, "passed": passed}


def _time(num_splats: int, size: int, batch: int, repeats: int = 20) -> dict[str, float]:
    """Milliseconds of forward and backward, the median of `repeats`, and the peak of GPU memory."""
    splats = head_splats(num_splats, batch=batch).to("cuda")
    leaves = Splats(*(getattr(splats, name).requires_grad_() for name in PARAMETERS))
    camera, background = head_camera(size).to("cuda"), torch.ones(3, device="cuda")
    forward, backward = [], []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats + 3):
        start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        start.record()
        views = rasterize_splats(leaves, camera, background=background, backend="gsplat")
        value = views.color.square().mean() + views.depth.mean() + views.normal.square().mean()
        middle.record()
        value.backward()
        end.record()
        torch.cuda.synchronize()
        forward.append(start.elapsed_time(middle))
        backward.append(middle.elapsed_time(end))
    row = {
        "num_splats": num_splats, "size": size, "batch": batch,
        "forward_ms": statistics.median(forward[3:]), "backward_ms": statistics.median(backward[3:]),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
    }  # fmt: skip
    print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    return row


if __name__ == "__main__":
    sys.exit(main())
