"""Error on held-out people against training steps: `python -m experiments.learning_curve`.

Two runs of experiments/configs/learning_curve.yaml, with rendered steps and with landmarks alone, scored on the rendered
benchmark by the NoW protocol as they train, beside the mean head. Finished runs are kept under .sheap/experiments.
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from experiments.benchmark_score import BenchmarkScore
from experiments.pages import Page, read_finished, write_finished
from experiments.training_runs import ExperimentSettings, fingerprint, many_runs_parser, train, train_params
from sheap.evaluation.now.dataset import NowDataset
from sheap.head import HeadModel
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.run import RunData

METRICS = {"now_median_mm": "NoW median, mm", "true_mean_mm": "true error, mm"}

Curve = list[dict[str, float]]


class CurveSettings(ExperimentSettings):
    """runs: by name, the dotted keys that each changes besides the shared ones."""

    runs: dict[str, dict[str, Any]]


def train_curve(settings: CurveSettings, name: str, seed: int, data: Path, work: Path) -> Curve:
    """Figures every `training.panels_every` steps. Runs in a worker process."""
    torch.set_num_threads(1)
    params = train_params(settings.changes, settings.runs[name], {"training.seed": seed})
    shards, benchmark = data / "shards", data / "benchmark"
    path = work / f"curve-{seed}-{fingerprint(params, shards, NowDataset.open(benchmark).fingerprint())}.json"
    found = read_finished(path)
    if found is None:
        score, curve = BenchmarkScore(benchmark), []

        def at(step: int, network: SheapNetwork) -> None:
            curve.append({"step": step, **score(network)})
            print(f"seed {seed}, {name}, step {step}: {curve[-1]['now_median_mm']:.4f} mm", flush=True)

        train(params, RunData.open(params, shards), at=at)
        found = {"curve": curve}
        write_finished(path, found)
    return found["curve"]


def run_all(settings: CurveSettings, data: Path, work: Path, num_workers: int) -> dict[str, list[Curve]]:
    """Curves by run, one for each seed."""
    work.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = {
            name: [pool.submit(train_curve, settings, name, seed, data, work) for seed in settings.seeds]
            for name in settings.runs
        }
        return {name: [future.result() for future in futures] for name, futures in pending.items()}


def plot(found: dict[str, list[Curve]], mean_head: dict[str, float], landmark_steps: int, path: Path) -> None:
    """One panel a metric; a line a run and seed, the mean head dashed."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (metric, label) in zip(figure.subplots(1, len(METRICS)), METRICS.items(), strict=True):
        for number, (name, curves) in enumerate(found.items()):
            for seed_number, curve in enumerate(curves):
                steps, values = [0, *(p["step"] for p in curve)], [mean_head[metric], *(p[metric] for p in curve)]
                axes.plot(steps, values, color=f"C{number}", marker="o", ms=3, label=None if seed_number else name)
        axes.axhline(mean_head[metric], color="grey", ls="--", lw=1, label="mean head")
        axes.axvline(landmark_steps, color="grey", ls=":", lw=1)
        axes.set(xlabel="training steps", ylabel=label)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def write_page(settings: CurveSettings, found: dict[str, list[Curve]], mean_head: dict[str, float], page: Page) -> None:
    """A table a seed."""
    landmark_steps = train_params(settings.changes).training.landmark_phase.steps
    page.line(f"The first {landmark_steps} steps are the landmark phase, the same in both runs.")
    page.line("An untrained network is the mean head.")
    for place, seed in enumerate(settings.seeds):
        rows = [["0 (mean head)", *(f"{mean_head[metric]:.4f}" for _ in found for metric in METRICS)]]
        for points in zip(*(curves[place] for curves in found.values()), strict=True):
            rows.append([str(points[0]["step"]), *(f"{point[metric]:.4f}" for point in points for metric in METRICS)])
        page.line(f"\nSeed {seed}:")
        page.table(["steps", *(f"{name}: {label}" for name in found for label in METRICS.values())], rows)


def main() -> int:
    """Trains what is not trained yet, prints and writes the page; exit code 2 for a user's mistake."""
    arguments = many_runs_parser(__doc__, "learning_curve").parse_args()
    try:
        settings = CurveSettings.read(arguments.config)
        mean_head = BenchmarkScore(arguments.data / "benchmark").mean_head(HeadModel.load())
        found = run_all(settings, arguments.data, arguments.work, arguments.workers)
    except (ValueError, OSError) as error:
        print(f"learning_curve: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    page = Page("Learning curve on held-out rendered people", "python -m experiments.learning_curve --out docs/results")
    write_page(settings, found, mean_head, page)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        landmark_steps = train_params(settings.changes).training.landmark_phase.steps
        plot(found, mean_head, landmark_steps, arguments.out / "learning_curve.png")
        page.line("![The curves](learning_curve.png)")
    record = {"settings": settings.model_dump(mode="json"), "mean_head": mean_head, "curves": found}
    page.finish("learning_curve", record, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
