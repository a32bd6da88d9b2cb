"""What does each part of the method do for geometry? `python -m experiments.ablation --data FOLDER`.

Every variant (experiments/configs/ablation.yaml) trains, self-supervised, from one start: the shipped predictor, which knows
pose and expression, made to forget shapes (everybody has the mean head's), or as it is. FOLDER/shards holds rendered people
as strangers (`experiments.unlabelled_photos`), those held out with their truth. Printed and written to a page: how well each
variant knows the held-out people, mean and spread over the seeds, and for each claim of the paper whether these runs reproduce
it. Finished runs are kept under .sheap/experiments: the same command after an interruption goes on.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.pages import Page, read_finished, write_finished
from experiments.training_runs import ExperimentSettings, fingerprint, many_runs_parser, train, train_params
from experiments.unseen_people import measure_people
from sheap.bundle import SHIPPED_MODEL, WEIGHTS_NAME
from sheap.data.manifest import file_sha256
from sheap.predictor import SheapPredictor
from sheap.training.run import RunData

BASE = "full"
SHAPE_OUTPUT = ("heads.shape.out.weight", "heads.shape.out.bias")
METRIC = "identity_one"
SHOWN = {
    "identity_one": "identity, one photo",
    "identity_fused": "identity, three",
    "surface_one": "surface, one photo",
    "motion": "motion",
    "photometric": "held-out L1",
    "landmarks": "held-out landmarks",
}
CLAIMS = (
    ("neither", BASE, "Without the geometry-consistency losses the error rises (0.97 to above 1.15 mm in the paper)."),
    ("no normal loss", BASE, "The normal loss lowers the error."),
    ("no depth loss", BASE, "The depth loss lowers the error."),
    ("mesh rendering", BASE, "Gaussians supervise geometry better than a rendered mesh."),
    ("MLP regressor", BASE, "The graph regressor is better than an MLP for each Gaussian alone."),
    ("two a face, no densification", "two Gaussians a face", "Densification lowers the error (0.02 mm in the paper)."),
    ("landmarks only", BASE, "Pictures teach geometry that landmarks alone do not."),
    ("knowing, landmarks only", "knowing", "The same, of people whom truth has taught to know."),
)
"""A variant, what it is compared with, and what the paper says: that the variant does worse."""


class AblationSettings(ExperimentSettings):
    """people: held-out ones that are measured. variants: by name, the dotted keys that each changes besides the shared ones.
    knowing: names of variants that start with the shapes that the predictor knows; the others have forgotten them."""

    people: int
    variants: dict[str, dict[str, Any]]
    knowing: tuple[str, ...]


def start_weights(is_knowing: bool) -> dict[str, Tensor]:
    """The shipped predictor's; where it has forgotten shapes, it gives everybody the mean head's and learns on from there."""
    weights = dict(SheapPredictor.load().network.state_dict())
    if not is_knowing:
        for name in SHAPE_OUTPUT:
            weights[name] = torch.zeros_like(weights[name])
    return weights


def train_variant(settings: AblationSettings, name: str, seed: int, shards: Path, work: Path) -> dict[str, float]:
    """Figures of one variant and seed. Runs in a worker process."""
    torch.set_num_threads(1)
    params = train_params(settings.changes, {"training.seed": seed}, settings.variants[name])
    is_knowing = name in settings.knowing
    start = file_sha256(SHIPPED_MODEL / WEIGHTS_NAME)
    path = work / f"run-{seed}-{fingerprint(params, shards, start, str(is_knowing), str(settings.people))}.json"
    found = read_finished(path)
    if found is None:
        trained = train(params, RunData.open(params, shards), start=start_weights(is_knowing))
        network = trained.models.network.eval()
        found = measure_people(network, shards / "val", settings.people) | trained.validation
        write_finished(path, found)
    print(f"seed {seed}, {name}: {found[METRIC]:.4f}", flush=True)
    return found


def run_all(
    settings: AblationSettings, shards: Path, work: Path, num_workers: int
) -> dict[str, list[dict[str, float]]]:
    """Figures by variant, one for each seed in the settings' order."""
    work.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending: dict[str, list[Future[dict[str, float]]]] = {name: [] for name in settings.variants}
        # Seed by seed, so that a run that is cut off leaves whole seeds.
        for seed in settings.seeds:
            for name, futures in pending.items():
                futures.append(pool.submit(train_variant, settings, name, seed, shards, work))
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


def write_page(settings: AblationSettings, found: dict[str, list[dict[str, float]]], page: Page) -> None:
    """The table and a sentence for each claim."""
    seeds = ", ".join(map(str, settings.seeds))
    page.line(f"{settings.people} held-out people; errors over the mean head's (motion: over a still face's). Seeds {seeds}:")
    page.line("mean ± standard deviation; lower is better. L1 and landmarks: of held-out pairs, each frame's head drawn from")
    page.line("another frame; the L1 of mesh rendering counts only where the mesh covers the head, and is no comparison with the")
    page.line("Gaussians'.")
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
    page.table(["the paper's claim", "identity of the variant without it, less that with it, by seed", "here"], claims)
    page.line('"Reproduced": the same sign in every seed, and a mean beyond twice its standard error; of so many claims one')
    page.line("may be met by chance. What these runs can tell apart is about their spread over seeds.")


def main() -> int:
    """Trains what is not trained yet, prints and writes the page; exit code 2 for a user's mistake."""
    arguments = many_runs_parser(__doc__, "ablation").parse_args()
    try:
        settings = AblationSettings.read(arguments.config)
        if BASE not in settings.variants:
            raise ValueError(f"{arguments.config}: variants: '{BASE}' is missing, which the others are compared with")
        found = run_all(settings, arguments.data / "shards", arguments.work, arguments.workers)
    except (ValueError, OSError) as error:
        print(f"ablation: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    page = Page("Ablation: what each part does", "python -m experiments.ablation --data FOLDER --out docs/results")
    write_page(settings, found, page)
    page.finish("ablation", {"settings": settings.model_dump(mode="json"), "runs": found}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
