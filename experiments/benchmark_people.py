"""The shipped predictor on rendered benchmarks: `python -m experiments.benchmark_people data/benchmark`.

NoW's error and, where the benchmark knows the truth, the distance of corresponding vertices, of three methods side by
side: each picture by itself, a person's pictures together (one shape of all of them, as `SheapPredictor.predict_person`
gives it), and the mean head. With --ict a benchmark is rendered first (params.yaml's section `benchmark`), with as many
people of ICT Face Model Light, whose shapes lie partly outside the open head's basis; what is there is not rendered again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.pages import Page
from pipeline.benchmark import ICT, BenchmarkParams, render
from pipeline.run.settings import StageError, load_params
from pipeline.run.stage import atomic_directory, cpu_count
from sheap.evaluation.head_meshes import neutral
from sheap.evaluation.now.dataset import CHALLENGES, NowDataset
from sheap.evaluation.now.evaluation import evaluate_methods
from sheap.evaluation.predictions import Predictions, mean_head, predict_pictures
from sheap.evaluation.rendered_truth import is_open_head, read_true_shapes, true_errors
from sheap.head import HeadParams
from sheap.networks.both_sides import BothSides
from sheap.networks.head_codes import HeadCodes
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.video.face_choice import FaceFinder

ALONE, TOGETHER, MEAN_HEAD = "one picture", "a person's pictures together", "mean head"
OVERALL = "overall"


class RememberedLooks:
    """A network as evaluation asks for it, which keeps its codes in the order of the pictures: a shape of several
    pictures is read from more than their parameters."""

    def __init__(self, network: SheapNetwork) -> None:
        self.sides, self.head = BothSides.of(network), network.head
        self.image_size = network.config.encoder.image_size
        self._looks: list[list[HeadCodes]] = []

    @torch.inference_mode()
    def predict(self, images: Tensor) -> HeadParams:
        self._looks.append(self.sides.looks(images))
        return self.sides.heads(self._looks[-1])

    def looks(self) -> list[HeadCodes]:
        """Codes of all pictures so far, by side."""
        return [HeadCodes.concatenate(list(side)) for side in zip(*self._looks, strict=True)]


@torch.inference_mode()
def together(predictions: Predictions, remembered: RememberedLooks) -> Predictions:
    """The predictions with one shape of all of a person's pictures. remembered: has seen them, by their rows."""
    shapes = predictions.params.shape.clone()
    rows_of: dict[str, list[int]] = {}
    for image, row in predictions.rows.items():
        rows_of.setdefault(image.subject, []).append(row)
    looks = remembered.looks()
    for rows in rows_of.values():
        shapes[rows] = remembered.sides.fused_shape([codes.index(rows) for codes in looks])
    return Predictions(predictions.head, predictions.params.replace(shape=shapes), predictions.rows)


def measure(root: Path, network: SheapNetwork, finder: FaceFinder, num_workers: int = 1) -> dict[str, Any]:
    """Figures by method: `now` (medians) and, where the truth is known, `true` (means), mm, overall and by challenge;
    beside them how many people and pictures they are of. Raises OSError or ValueError naming a file."""
    dataset = NowDataset.open(root)
    remembered = RememberedLooks(network)
    _, answers = predict_pictures(dataset, {ALONE: remembered}, finder)
    alone = answers[ALONE]
    if not alone.rows:
        raise ValueError(f"{root}: no face found in any of {len(dataset.images)} pictures")
    methods = {ALONE: alone, TOGETHER: together(alone, remembered), MEAN_HEAD: mean_head(alone)}
    sources = {name: neutral(found) for name, found in methods.items()}
    evaluations = evaluate_methods(dataset, sources, num_workers=num_workers)
    shapes, images = read_true_shapes(root), [image for image in dataset.images if image in alone.rows]
    true = true_errors(network.head, shapes, sources, images) if shapes and is_open_head(network.head) else {}
    return {
        "people": len(dataset.subjects),
        "pictures": len(images),
        "methods": {
            name: {
                "now": {kind: row.median_mm for kind, row in evaluations[name].statistics().items()},
                "true": {kind: row["mean_mm"] for kind, row in true.get(name, {}).items()},
            }
            for name in methods
        },
    }


def write_page(found: Mapping[str, dict[str, Any]], command: str, model: str, out: Path | None) -> None:
    page = Page("The shipped predictor on rendered benchmarks", command)
    page.line(
        f"`{model}`. NoW: median distance (mm) of a scan's vertices to the aligned neutral face, pooled over pictures.\n"
        "True: mean distance (mm) of the face's corresponding vertices after a similarity, where the benchmark's people lie\n"
        "within the basis. In brackets: over the mean head's."
    )
    for name, figures in found.items():
        page.line("")
        page.line(f"## {name}")
        page.line("")
        page.line(f"{figures['people']} people, {figures['pictures']} pictures.")
        methods = figures["methods"]
        rows = []
        for measure_name, title in (("now", "NoW"), ("true", "true")):
            of_mean = methods[MEAN_HEAD][measure_name]
            for kind in (kind for kind in (OVERALL, *CHALLENGES) if kind in of_mean):
                cells = [f"{methods[method][measure_name][kind]:.3f}" for method in methods]
                ratios = [
                    f" ({methods[m][measure_name][kind] / of_mean[kind]:.3f})" for m in methods if m != MEAN_HEAD
                ] + [""]
                rows.append((f"{title}, {kind}", *(cell + ratio for cell, ratio in zip(cells, ratios, strict=True))))
        page.table(("", *methods), rows)
    page.finish("benchmark_people", {"model": model, "benchmarks": dict(found)}, out)


def rendered(folder: Path, ict: Path) -> list[Path]:
    """The benchmark in a folder and its part with ICT's shapes, rendered if the folder is not there. Raises StageError,
    OSError or ValueError naming what is wrong."""
    if not folder.exists():
        with atomic_directory(folder) as made:
            render(load_params("benchmark", BenchmarkParams).model_copy(update={"ict": ict}), made)
    if not (folder / ICT).is_dir():
        raise ValueError(f"{folder}: a benchmark without people of ICT; name another folder in --into")
    return [folder, folder / ICT]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark_people", description=__doc__)
    parser.add_argument("benchmarks", type=Path, nargs="*", help="rendered benchmarks, as data/benchmark")
    parser.add_argument("--model", type=Path, help="a model folder (default: the shipped predictor)")
    parser.add_argument("--ict", type=Path, help="ICT-FaceKit's folder, or an .npz of ICT Face Model Light's arrays")
    parser.add_argument("--into", type=Path, help="with --ict: where the benchmark is rendered")
    parser.add_argument("--out", type=Path, help="folder for benchmark_people.md and .json")
    arguments = parser.parse_args(argv)
    if (arguments.ict is None) != (arguments.into is None):
        print("error: --ict and --into: give both or neither", file=sys.stderr)
        return 1
    if not arguments.benchmarks and arguments.ict is None:
        print("error: no benchmark given; `dvc repro benchmark` makes data/benchmark", file=sys.stderr)
        return 1
    try:
        predictor = SheapPredictor.load(arguments.model)
        folders = list(arguments.benchmarks)
        if arguments.ict is not None:
            folders += rendered(arguments.into, arguments.ict)
        found = {
            "/".join(folder.parts[-2:]): measure(folder, predictor.network, predictor.face_finder, cpu_count())
            for folder in folders
        }
    except (StageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    model = "sheap/shipped_model" if arguments.model is None else str(arguments.model)
    write_page(
        found, "python -m experiments.benchmark_people --ict ICT --into FOLDER --out docs/results", model, arguments.out
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
