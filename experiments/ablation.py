"""What does each part of the method do for geometry? `python -m experiments.ablation`.

For every seed one landmark phase is trained; from its weights each variant (experiments/configs/ablation.yaml) trains the
rendered steps. Printed and written to a page: error on the rendered benchmark's held-out people, mean and spread over the
seeds, and for each claim of the paper whether these runs reproduce it. Finished runs are kept under .sheap/experiments: the same
command after an interruption goes on.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.benchmark_score import BenchmarkScore
from experiments.pages import Page, read_finished, write_finished
from experiments.training_runs import ExperimentSettings, fingerprint, many_runs_parser, train, train_params
from sheap.evaluation.now.dataset import NowDataset
from sheap.head import HeadModel
from sheap.training.run import RunData

BASE = "full"
METRIC = "now_median_mm"
SHOWN = {
    "now_median_mm": "NoW median, mm",
    "true_mean_mm": "true error, mm",
    "photometric": "held-out L1",
    "ssim": "held-out 1 - SSIM",
    "landmarks": "held-out landmarks",
}
CLAIMS = (
    ("neither", BASE, "Without the geometry-consistency losses the error rises (0.97 to above 1.15 mm in the paper)."),
    ("weak landmarks, neither", "weak landmarks", "The same, with landmarks at a tenth of their weight."),
    ("no normal loss", BASE, "The normal loss lowers the error."),
    ("no depth loss", BASE, "The depth loss lowers the error."),
    ("mesh rendering", BASE, "Gaussians supervise geometry better than a rendered mesh."),
    ("weak landmarks, mesh rendering", "weak landmarks", "The same, with landmarks at a tenth of their weight."),
    ("MLP regressor", BASE, "The graph regressor is better than an MLP for each Gaussian alone."),
    ("two a face, no densification", "two Gaussians a face", "Densification lowers the error (0.02 mm in the paper)."),
    ("landmarks only", BASE, "Pictures teach geometry that landmarks alone do not."),
)
"""A variant, what it is compared with, and what the paper says: that the variant does worse."""


class AblationSettings(ExperimentSettings):
    """variants: by name, the dotted keys that each changes besides the shared ones."""

    variants: dict[str, dict[str, Any]]


def train_start(settings: AblationSettings, seed: int, shards: Path, work: Path) -> Path:
    """The seed's landmark phase; returns the file of its weights. Runs in a worker process."""
    torch.set_num_threads(1)
    params = train_params(settings.changes, {"training.seed": seed, "training.rendered_phase.steps": 0})
    path = work / f"start-{seed}-{fingerprint(params, shards)}.pt"
    if not path.is_file():
        trained = train(params, RunData.open(params, shards))
        temporary = path.with_suffix(".tmp")
        torch.save(trained.models.network.state_dict(), temporary)
        temporary.rename(path)
    return path


def train_variant(
    settings: AblationSettings, name: str, seed: int, start: Path, data: Path, work: Path
) -> dict[str, float]:
    """Figures of one variant and seed. Runs in a worker process."""
    torch.set_num_threads(1)
    changes = {"training.seed": seed, "training.landmark_phase.steps": 0}
    params = train_params(settings.changes, changes, settings.variants[name])
    shards, benchmark = data / "shards", data / "benchmark"
    path = work / f"run-{seed}-{fingerprint(params, shards, start.name, NowDataset.open(benchmark).fingerprint())}.json"
    found = read_finished(path)
    if found is None:
        weights = torch.load(start, map_location="cpu", weights_only=True)
        trained = train(params, RunData.open(params, shards), start=weights)
        found = BenchmarkScore(benchmark)(trained.models.network) | trained.validation
        write_finished(path, found)
    print(f"seed {seed}, {name}: {found[METRIC]:.4f} mm", flush=True)
    return found


def run_all(settings: AblationSettings, data: Path, work: Path, num_workers: int) -> dict[str, list[dict[str, float]]]:
    """Figures by variant, one for each seed in the settings' order."""
    work.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        starting = [pool.submit(train_start, settings, seed, data / "shards", work) for seed in settings.seeds]
        starts = [future.result() for future in starting]
        pending = {
            name: [
                pool.submit(train_variant, settings, name, seed, start, data, work)
                for seed, start in zip(settings.seeds, starts, strict=True)
            ]
            for name in settings.variants
        }
        return {name: [future.result() for future in futures] for name, futures in pending.items()}


def verdict(differences: list[float]) -> str:
    """What runs paired by seed say of "the variant does worse": differences are of errors, variant less the other."""
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return "undecided (one seed)"
    margin = 2 * float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    if mean > margin and min(differences) > 0:
        return "reproduced"
    if mean < -margin and max(differences) < 0:
        return "not reproduced: the opposite was measured"
    return "undecided at this scale"


def write_page(
    settings: AblationSettings, found: dict[str, list[dict[str, float]]], mean_head: float, page: Page
) -> None:
    """The table and a sentence for each claim."""
    seeds = ", ".join(map(str, settings.seeds))
    page.line(f"Mean head: {mean_head:.4f} mm NoW median. Seeds {seeds}: mean ± standard deviation; lower is better.")
    page.line("Held-out figures are of rendered validation clips, each frame's head drawn from another frame of its clip;")
    page.line("those of mesh rendering count only where the mesh covers the head, and are no comparison with the Gaussians'.")
    columns = [name for name in SHOWN if all(name in run for runs in found.values() for run in runs)]
    rows = []
    for name, runs in found.items():
        cells = [[run[column] for run in runs] for column in columns]
        rows.append([name, *(f"{np.mean(c):.4f} ± {np.std(c, ddof=min(1, len(c) - 1)):.4f}" for c in cells)])
    page.table(["variant", *(SHOWN[column] for column in columns)], rows)
    claims = []
    for name, base, claim in CLAIMS:
        if name in found and base in found:
            differences = [run[METRIC] - full[METRIC] for run, full in zip(found[name], found[base], strict=True)]
            spread = ", ".join(f"{difference:+.4f}" for difference in differences)
            claims.append([claim, spread, verdict(differences)])
    page.table(["the paper's claim", "NoW median of the variant without it, less that with it, mm, by seed", "here"], claims)
    page.line('"Reproduced": the same sign in every seed, and a mean beyond twice its standard error; of so many claims one')
    page.line("may be met by chance. What these runs can tell apart is about their spread over seeds.")


def main() -> int:
    """Trains what is not trained yet, prints and writes the page; exit code 2 for a user's mistake."""
    arguments = many_runs_parser(__doc__, "ablation").parse_args()
    try:
        settings = AblationSettings.read(arguments.config)
        if BASE not in settings.variants:
            raise ValueError(f"{arguments.config}: variants: '{BASE}' is missing, which the others are compared with")
        mean_head = BenchmarkScore(arguments.data / "benchmark").mean_head(HeadModel.load())
        found = run_all(settings, arguments.data, arguments.work, arguments.workers)
    except (ValueError, OSError) as error:
        print(f"ablation: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    page = Page("Ablation: what each part does", "python -m experiments.ablation --out docs/results")
    write_page(settings, found, mean_head[METRIC], page)
    record = {"settings": settings.model_dump(mode="json"), "mean_head": mean_head, "runs": found}
    page.finish("ablation", record, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
