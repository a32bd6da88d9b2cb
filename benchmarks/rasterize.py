"""The CPU rasteriser on head scenes: against the tiled torch reference, over threads, and against size.

    python -m benchmarks.rasterize [--quick] [--output docs/benchmarks]

Prints every row as it is measured; --output also writes a page (rasterize.md) and its figures (rasterize.json). Every
figure is the least of several runs: other work on the machine only ever adds time. On a busy machine wall times and
scaling over threads say little; the processor time of one thread, beside the wall time, is then the figure to read.
Three minutes, of which the first run compiles the kernels for half a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numba
import torch

from benchmarks.machine import commit, reset_peak_mb, status_mb
from benchmarks.rasterize_page import page, summary
from benchmarks.splat_parity import PARAMETERS
from benchmarks.splat_scenes import head_camera, head_meshes, head_splats
from pipeline.run.provenance import cpu_name
from sheap.render import Splats, rasterize_splats, splat_cpu
from sheap.render.mesh import mesh_depth, rasterize_mesh
from sheap.render.splatting import Backend

SECONDS_A_ROW = 2.5
"""A row is repeated until it has taken this long, three times at least and RUNS at most."""
RUNS = 15


@dataclass(frozen=True)
class Case:
    """backend: of the splats, or "mesh" for the z-buffer and the depth image of the head's own mesh."""

    num_splats: int = 20_000
    size: int = 224
    batch: int = 1
    threads: int = 1
    backend: Backend | Literal["mesh"] = "cpu"


def cases(quick: bool, num_cores: int) -> list[Case]:
    sides = (112, 224) if quick else (112, 224, 512)
    rows = []
    for threads in range(1, min(2, num_cores) + 1):
        rows += [Case(size=side, batch=batch, threads=threads) for side in sides for batch in (1, 8)]
        rows += [Case(size=side, threads=threads, backend="reference") for side in sides]
        rows += [Case(num_splats=0, size=side, batch=8, threads=threads, backend="mesh") for side in sides[:2]]
    return rows + [Case(num_splats=count) for count in (2_500, 5_000, 10_000, 40_000, 80_000)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="sides of 112 and 224 only, fewer repeats")
    parser.add_argument("--output", type=Path, help="a folder for rasterize.md and rasterize.json")
    options = parser.parse_args()
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    machine = {
        "cpu": cpu_name(), "cores": num_cores, "load": os.getloadavg()[0], "torch": torch.__version__,
        "numba": numba.__version__, "commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }  # fmt: skip
    print("  ".join(f"{key} {value}" for key, value in machine.items()))
    if num_cores < 2:
        print("one core only: no rows with two threads")
    print("splats  side batch threads backend   forward (processor) ms  backward (processor) ms   peak MB  load")
    rows = []
    for case in cases(options.quick, num_cores):
        row = measure(case, RUNS // 3 if options.quick else RUNS)
        rows.append(row)
        print(
            f"{case.num_splats:6d} {case.size:5d} {case.batch:5d} {case.threads:7d} {case.backend:9s} "
            f"{row['forward_ms']:8.1f} ({row['forward_cpu_ms']:8.1f}) {row['backward_ms']:13.1f} "
            f"({row['backward_cpu_ms']:8.1f}) {row['peak_mb']:9.0f} {row['load']:5.1f}",
            flush=True,
        )
    report = {"machine": machine, "summary": summary(rows), "rows": rows}
    for line in report["summary"]:
        print(line)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "rasterize.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.output / "rasterize.md").write_text(page(report))
    return 0


def measure(case: Case, runs: int) -> dict[str, Any]:
    """One row: the least of at most `runs` runs, the peak of memory above the inputs, and the passes of the kernel."""
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    parts: dict[str, float] = {}
    try:
        prepare = _mesh_run if case.backend == "mesh" else _splat_run
        prepare(Case(num_splats=50, size=32, backend=case.backend))()  # compiles
        run = prepare(case)
        held_mb = reset_peak_mb()
        times = []
        with _timed_parts(parts):
            started = time.perf_counter()
            while len(times) < runs and (len(times) < min(3, runs) or time.perf_counter() - started < SECONDS_A_ROW):
                times.append(run())
                if case.backend == "reference" and len(times) == 2:
                    break
    finally:
        torch.set_num_threads(before)
    names = ("forward_ms", "forward_cpu_ms", "backward_ms", "backward_cpu_ms")
    return {
        **asdict(case),
        **{name: 1e3 * min(column) for name, column in zip(names, zip(*times))},
        "peak_mb": status_mb("VmHWM") - held_mb,
        "load": os.getloadavg()[0],
        "parts_ms": {name: 1e3 * seconds for name, seconds in parts.items()},
    }


def _splat_run(case: Case) -> Callable[[], tuple[float, float, float, float]]:
    """A function that renders forward and backward: seconds of each, by the wall and by the processor."""
    if case.backend == "mesh":
        raise ValueError("a mesh has no splats")
    backend = case.backend
    splats, camera, background = head_splats(case.num_splats, batch=case.batch), head_camera(case.size), torch.ones(3)

    def run() -> tuple[float, float, float, float]:
        leaves = Splats(*(getattr(splats, name).detach().requires_grad_() for name in PARAMETERS))
        with _stopwatch() as forward:
            views = rasterize_splats(leaves, camera, background=background, backend=backend)
        outputs = (views.color, views.alpha, views.depth, views.normal)
        upstream = [torch.ones_like(output) for output in outputs]
        with _stopwatch() as backward:
            torch.autograd.backward(outputs, upstream)
        return forward[0], forward[1], backward[0], backward[1]

    return run


def _mesh_run(case: Case) -> Callable[[], tuple[float, float, float, float]]:
    (vertices, faces), camera = head_meshes(case.batch), head_camera(case.size)

    def run() -> tuple[float, float, float, float]:
        leaf = vertices.detach().requires_grad_()
        with _stopwatch() as forward:
            depth = mesh_depth(leaf, faces, camera, rasterize_mesh(leaf, faces, camera))
        with _stopwatch() as backward:
            depth.backward(torch.ones_like(depth))
        return forward[0], forward[1], backward[0], backward[1]

    return run


@contextlib.contextmanager
def _stopwatch() -> Iterator[list[float]]:
    """A list that holds the seconds of the wall and of the processor after the block."""
    seconds: list[float] = []
    wall, processor = time.perf_counter(), time.process_time()
    yield seconds
    seconds += [time.perf_counter() - wall, time.process_time() - processor]


@contextlib.contextmanager
def _timed_parts(parts: dict[str, float]) -> Iterator[None]:
    """Have the CPU backend write the least seconds of each of its passes into `parts`."""
    run = splat_cpu.for_each_range

    def timed(work: Any, count: int, **options: Any) -> None:
        start = time.perf_counter()
        run(work, count, **options)
        seconds = time.perf_counter() - start
        parts[work.__name__] = min(seconds, parts.get(work.__name__, seconds))

    splat_cpu.for_each_range = timed
    try:
        yield
    finally:
        splat_cpu.for_each_range = run


if __name__ == "__main__":
    sys.exit(main())
