"""Time and memory of the NoW metric: `python -m benchmarks.now`.

Prints the time a pair on one thread (beside the official tool's, where its reference pairs are present), the throughput
of one and two processes, and the memory of this process while many predictions stream through it.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from pipeline.run.provenance import cpu_name
from sheap.evaluation.mesh_files import TriangleMesh
from sheap.evaluation.now.dataset import NowScan
from sheap.evaluation.now.metric import NowWarning, evaluate_pair
from sheap.evaluation.now.subject import evaluate_prediction
from sheap.evaluation.now.submission import NowPrediction

OFFICIAL_DIR = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "now"


@dataclass(frozen=True)
class Pair:
    """A scan and a prediction; official_*_s: what the official tool took for it (best of three), None where unknown."""

    name: str
    scan: NowScan
    prediction: NowPrediction
    official_wall_s: float | None = None
    official_cpu_s: float | None = None


def official_pairs() -> list[Pair]:
    """The reference pairs; empty where they are absent."""
    pairs = []
    for path in sorted(OFFICIAL_DIR.glob("*.npz")):
        with np.load(path) as held:
            scan = NowScan(TriangleMesh(held["scan_v"], held["scan_f"].astype(np.int64)), held["scan_lmks7"])
            mesh = TriangleMesh(held["pred_v"], held["pred_f"].astype(np.int64))
            prediction = NowPrediction(mesh, held["pred_lmks7"])
        summary = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        pairs.append(Pair(path.stem, scan, prediction, summary["wall_s_min3"], summary["cpu_s_min3"]))
    return pairs


def rendered_pair() -> Pair:
    """The mean head against one of the open head's own identities: needs nothing outside of the package."""
    import torch

    from sheap.evaluation.head_meshes import neutral_meshes
    from sheap.head import HeadModel

    head = HeadModel.load()
    someone = torch.randn(1, head.num_shape, generator=torch.Generator().manual_seed(0))
    shapes = torch.cat([someone, torch.zeros(1, head.num_shape)])
    (scan, mean), landmarks = neutral_meshes(head, shapes)
    return Pair("open_head", NowScan(scan, landmarks[0].astype(np.float32)), NowPrediction(mean, landmarks[1]))


def time_pair(pair: Pair, repeats: int) -> tuple[float, float]:
    """Least wall and CPU seconds of `repeats` evaluations on one thread."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        evaluate_prediction(pair.scan, pair.prediction)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def evaluations_per_second(pair: Pair, num_processes: int, count: int) -> float:
    """Throughput of `count` evaluations shared by processes that have already started and compiled."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        shares = [count // num_processes] * num_processes
        list(pool.map(_repeat, [pair] * num_processes, [2] * num_processes))
        begin = time.perf_counter()
        list(pool.map(_repeat, [pair] * num_processes, shares))
        return sum(shares) / (time.perf_counter() - begin)


def _repeat(pair: Pair, count: int) -> None:
    for _ in range(count):
        evaluate_prediction(pair.scan, pair.prediction)


def stream(pair: Pair, count: int, reports: int = 5) -> Iterator[tuple[int, float]]:
    """(predictions so far, resident MiB) while `count` different predictions pass through the metric."""
    process, rng = psutil.Process(), np.random.default_rng(0)
    mesh = pair.prediction.mesh
    size = float(np.ptp(mesh.vertices, axis=0).mean())
    for index in range(1, count + 1):
        noisy = mesh.vertices + 1e-3 * size * rng.normal(size=mesh.vertices.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NowWarning)
            evaluate_pair(
                *(pair.scan.mesh.vertices, pair.scan.mesh.faces, pair.scan.landmarks),
                *(noisy, mesh.faces, pair.prediction.landmarks),
            )
        if index % max(1, count // reports) == 0:
            gc.collect()
            yield index, process.memory_info().rss / 2**20


def main() -> None:
    """Prints the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="evaluations of each pair, of which the best counts")
    parser.add_argument("--predictions", type=int, default=1000, help="predictions that stream through the metric")
    arguments = parser.parse_args()
    pairs = official_pairs()
    if not pairs:
        print(f"{OFFICIAL_DIR} is absent: timing the open head instead, without the official figures")
        pairs = [rendered_pair()]
    time_pair(pairs[0], 1)  # compiles
    print(f"machine: {cpu_name()}, {multiprocessing.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}")
    if pairs[0].official_wall_s is not None:
        print(f"official: best of three as recorded in {OFFICIAL_DIR.name}/*.json (machine not recorded there)")
    columns = (("wall s", 9), ("cpu s", 9), ("official wall", 15), ("cpu", 8), ("faster (wall)", 15), ("(cpu)", 8))
    print(f"\n{'pair':28s}" + "".join(f"{name:>{width}s}" for name, width in columns))
    for pair in pairs:
        wall, cpu = time_pair(pair, arguments.repeats)
        line = f"{pair.name:28s}{wall:9.3f}{cpu:9.3f}"
        if pair.official_wall_s is not None and pair.official_cpu_s is not None:
            line += f"{pair.official_wall_s:15.2f}{pair.official_cpu_s:8.2f}"
            line += f"{pair.official_wall_s / wall:15.1f}{pair.official_cpu_s / cpu:8.1f}"
        print(line, flush=True)

    smallest = min(pairs, key=lambda pair: len(pair.scan.mesh.vertices))
    count = 80
    one, two = (evaluations_per_second(smallest, number, count) for number in (1, 2))
    print(f"\n{smallest.name}: {one:.1f} evaluations/s in one process, {two:.1f} in two ({two / one:.2f} times)")

    print(f"\nmemory while {arguments.predictions} predictions stream through ({smallest.name})")
    begin = time.perf_counter()
    for done, mebibytes in stream(smallest, arguments.predictions):
        print(f"{done:8d} predictions {mebibytes:8.1f} MiB {time.perf_counter() - begin:8.1f} s", flush=True)
    num_vertices = len(evaluate_prediction(smallest.scan, smallest.prediction).distances)
    kept = 8 * num_vertices * arguments.predictions / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"peak {peak:.1f} MiB. Figures are over all vertices of all images, so the evaluation of a whole benchmark")
    print(f"keeps the distances besides: {kept:.1f} MiB for these.")


if __name__ == "__main__":
    main()
