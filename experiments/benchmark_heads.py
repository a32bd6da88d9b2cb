"""What the benchmark's scans leave to shape: `python -m experiments.benchmark_heads`.

NoW's error of neutral meshes that need no picture, against the scans that the benchmark stage makes: the mean head, and the
person's own coefficients, for people of the open head's population and, where ICT Face Model Light is named, for people with
ICT's shapes, whose coefficients are the best fit within the basis. What the true mesh leaves is the scan's noise and the clicks
that mark landmarks.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.pages import Page
from pipeline.benchmark import BenchmarkParams, ict_member, scan_settings
from pipeline.run.settings import StageError, load_params
from sheap.evaluation.now.metric import evaluate_pair
from sheap.evaluation.now.results import DistanceStatistics
from sheap.people.cast import CastMember, cast_member
from sheap.people.scans import make_scan
from sheap.people.studio import shared_studio

HEADS = ("mean head", "own coefficients", "true mesh")

Distances = dict[str, list[NDArray[np.float64]]]


def measure(params: BenchmarkParams, members: list[tuple[CastMember, NDArray[np.float32] | None]]) -> Distances:
    """Distances (mm) of each of HEADS to each member's scan. Without a residual, a member is what their coefficients say."""
    studio = shared_studio()
    head = studio.head
    found: Distances = {name: [] for name in HEADS}
    for member, residual in members:
        scan = make_scan(studio, member.shape, scan_settings(params), member.rng(900), residual)
        own = head.neutral(torch.from_numpy(member.shape))
        true = own if residual is None else own + torch.from_numpy(residual)
        for name, mesh in zip(HEADS, (head.template, own, true), strict=True):
            landmarks = 1e3 * head.now_landmarks(mesh).double().numpy()
            vertices = 1e3 * mesh.double().numpy()
            result = evaluate_pair(scan.vertices, scan.faces, scan.landmarks, vertices, head.faces.numpy(), landmarks)
            found[name].append(result.distances)
    return found


def statistics(distances: list[NDArray[np.float64]]) -> dict[str, float]:
    """Of at least one person's distances."""
    found = DistanceStatistics.of(distances)
    assert found is not None, "every scan has a face"
    return asdict(found)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark_heads", description=__doc__)
    parser.add_argument("--people", type=int, default=10, help="of each kind")
    parser.add_argument("--ict", type=Path, help="ICT-FaceKit's folder, or an .npz of ICT Face Model Light's arrays")
    parser.add_argument("--out", type=Path, help="folder for benchmark_heads.md and .json")
    arguments = parser.parse_args(argv)
    try:
        if arguments.people < 1:
            raise ValueError("--people: at least one has to be measured")
        params = load_params("benchmark", BenchmarkParams).model_copy(update={"ict": arguments.ict})
        indices = range(arguments.people)
        head = shared_studio().head
        kinds: dict[str, list[tuple[CastMember, NDArray[np.float32] | None]]] = {}
        kinds["the population"] = [(cast_member(params.seed, "benchmark", index, head), None) for index in indices]
        if arguments.ict is not None:
            kinds["ICT's shapes"] = [ict_member(params, index) for index in indices]
    except (StageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    page = Page("The benchmark's scans and heads", "python -m experiments.benchmark_heads --out docs/results")
    page.line("NoW's error of neutral meshes against the scans of the benchmark's people (mm: median / mean / deviation).")
    record = {}
    for kind, members in kinds.items():
        record[kind] = {name: statistics(found) for name, found in measure(params, members).items()}
    page.table(
        ("people", *HEADS),
        [
            (
                f"{len(kinds[kind])} of {kind}",
                *(f"{row['median_mm']:.3f} / {row['mean_mm']:.3f} / {row['std_mm']:.3f}" for row in rows.values()),
            )
            for kind, rows in record.items()
        ],
    )
    page.finish("benchmark_heads", record, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
