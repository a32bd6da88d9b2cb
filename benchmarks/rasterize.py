"""The CPU rasteriser on head scenes: against the tiled torch reference, over threads, and against size.

    python -m benchmarks.rasterize [--quick] [--output docs/benchmarks/rasterize.json]

Every figure is the least of several runs: other work on the machine only ever adds time. The load when a row was
measured stands beside it; with a load near the number of cores, wall times and scaling over threads say little, and
the processor time of one thread (beside the wall time) is the figure to read: with two, torch's threads spin while they
wait for each other. Each row runs in a process of its own, after a warm-up that compiles the kernels.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.splat_parity import PARAMETERS
from benchmarks.splat_scenes import head_camera, head_splats
from sheap.render import Splats, rasterize_splats, splat_cpu


@dataclass(frozen=True)
class Case:
    num_splats: int = 20_000
    size: int = 224
    batch: int = 1
    threads: int = 2
    backend: str = "cpu"
    repeats: int = 15


def cases(quick: bool) -> list[Case]:
    sides = (112, 224, 512)
    repeats = 5 if quick else 15
    rows = [Case(size=s, batch=b, threads=t, repeats=repeats) for s in sides for b in (1, 8) for t in (1, 2)]
    rows += [
        Case(size=s, threads=t, backend="reference", repeats=1 if quick else 2)
        for s in ((224,) if quick else sides)
        for t in (1, 2)
    ]
    rows += [Case(num_splats=n, threads=1, repeats=repeats) for n in (2_500, 5_000, 10_000, 40_000, 80_000)]
    rows += [Case(num_splats=n, size=112, batch=8, repeats=repeats) for n in (5_000, 10_000)]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, the reference at one size only")
    parser.add_argument("--only", type=int, nargs="*", help="sides of the image to run (default: all)")
    parser.add_argument("--output", type=Path, help="also write the figures here, as JSON")
    options = parser.parse_args()
    machine = {"cpu": _cpu_name(), "cores": os.cpu_count(), "torch": torch.__version__}
    print(f"{machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}")
    print(
        "splats  side batch threads backend    forward/processor ms  backward/processor ms  peak MB  load   parts (ms)"
    )
    context = multiprocessing.get_context("spawn")
    rows = []
    for case in (case for case in cases(options.quick) if not options.only or case.size in options.only):
        with context.Pool(1) as pool:
            row = pool.apply(measure, (case,))
        rows.append(row)
        parts = "  ".join(f"{name} {ms:.1f}" for name, ms in row["parts_ms"].items())
        print(
            f"{case.num_splats:6d} {case.size:5d} {case.batch:5d} {case.threads:7d} {case.backend:9s} "
            f"{row['forward_ms']:10.1f} {row['forward_cpu_ms']:10.1f} {row['backward_ms']:11.1f} "
            f"{row['backward_cpu_ms']:10.1f} {row['peak_mb']:8.0f} {row['load']:5.1f}   {parts}",
            flush=True,
        )
    summary = summarise(rows)
    for line in summary:
        print(line)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        report = {"machine": machine, "rows": rows, "summary": summary}
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def measure(case: Case) -> dict[str, Any]:
    """One row, in this process: the least of `case.repeats` runs, and the peak of memory above the inputs."""
    torch.set_num_threads(case.threads)
    _run(head_splats(50), 32, case.backend)  # compiles
    splats = head_splats(case.num_splats, batch=case.batch)
    parts: dict[str, float] = {}
    if case.backend == "cpu":
        _time_parts(parts)
    load = os.getloadavg()[0]
    before = _reset_peak_mb()
    times = [_run(splats, case.size, case.backend) for _ in range(case.repeats)]
    names = ("forward_ms", "forward_cpu_ms", "backward_ms", "backward_cpu_ms")
    return {
        **vars(case),
        **{name: 1e3 * min(column) for name, column in zip(names, zip(*times))},
        "peak_mb": _peak_mb() - before,
        "load": load,
        "parts_ms": {name: 1e3 * seconds for name, seconds in parts.items()},
    }


def _run(splats: Splats, size: int, backend: str) -> tuple[float, float, float, float]:
    """Seconds of forward and of backward, each by the wall and by the processor."""
    leaves = Splats(*(getattr(splats, name).detach().requires_grad_() for name in PARAMETERS))
    background = torch.ones(3)
    wall, processor = time.perf_counter(), time.process_time()
    views = rasterize_splats(leaves, head_camera(size), background=background, backend=backend)
    forward = time.perf_counter() - wall, time.process_time() - processor
    outputs = (views.color, views.alpha, views.depth, views.normal)
    upstream = [torch.ones_like(output) for output in outputs]
    wall, processor = time.perf_counter(), time.process_time()
    torch.autograd.backward(outputs, upstream)
    return *forward, time.perf_counter() - wall, time.process_time() - processor


def _time_parts(parts: dict[str, float]) -> None:
    """Have the CPU backend write the least seconds of each of its passes into `parts`."""
    run = splat_cpu.for_each_range

    def timed(work: Any, count: int, **options: Any) -> None:
        start = time.perf_counter()
        run(work, count, **options)
        seconds = time.perf_counter() - start
        parts[work.__name__] = min(seconds, parts.get(work.__name__, seconds))

    splat_cpu.for_each_range = timed


def summarise(rows: list[dict[str, Any]]) -> list[str]:
    """The ratios that matter."""

    def both(kind: str, **wanted: Any) -> float | None:
        found = [r for r in rows if all(r[key] == value for key, value in wanted.items())]
        return found[0][f"forward_{kind}"] + found[0][f"backward_{kind}"] if found else None

    lines = []
    for size in (112, 224, 512):
        for kind, threads in (("ms", 2), ("cpu_ms", 1)):
            head = {"num_splats": 20_000, "batch": 1, "threads": threads, "size": size}
            slow, fast = both(kind, backend="reference", **head), both(kind, backend="cpu", **head)
            if slow and fast:
                by = "wall time, two threads each" if kind == "ms" else "processor time, one thread each"
                lines.append(f"side {size}: {slow / fast:.0f} times faster than the tiled reference ({by})")
        for batch in (1, 8):
            one = both("ms", size=size, backend="cpu", num_splats=20_000, batch=batch, threads=1)
            two = both("ms", size=size, backend="cpu", num_splats=20_000, batch=batch, threads=2)
            if one and two:
                lines.append(f"side {size}, batch {batch}: two threads {one / two:.2f} times faster than one")
    return lines


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _reset_peak_mb() -> float:
    """Forget the peak of this process's memory (Linux), and return what it uses now, freed memory handed back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status: no {key}")


if __name__ == "__main__":
    sys.exit(main())
