"""Which way does each loss term pull the shape? `python -m experiments.shape_gradients` (after `make demo`).

Rendered people are known, so the gradient of every self-supervised term at the predicted shape can be held against the step that
would make the shape true. The predictor is the shipped one; the Gaussians' regressor and the landmarks' calibration are trained
for it first, while it is held (experiments/configs/shape_gradients.yaml). Then, for held-out people: a term's gradient at the
source's shape in the re-enactment of the target, the predictor's weights being what they are. Two places: the predicted shape,
and the mean head in the same pose.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.pages import Page
from experiments.training_runs import CONFIGS, ExperimentSettings, train, train_params
from sheap.data.frames import Frames, Pairs
from sheap.data.reader import ShardReader
from sheap.data.truth import FrameTruth
from sheap.geometry.cameras import project
from sheap.losses.landmarks import landmark_loss
from sheap.losses.shape_metric import ShapeMetric
from sheap.networks.head_codes import HeadCodes, reenact
from sheap.training.config import TrainingConfig
from sheap.training.loop import random_backgrounds
from sheap.training.run import RunData
from sheap.training.step import Models, gaussian_terms, landmark_terms, picture_terms

PICTURE_TERMS = ("photometric", "ssim", "alpha")
GAUSSIAN_TERMS = ("normals", "depth")
SUMS = {
    "all of them": ("landmarks", *PICTURE_TERMS, *GAUSSIAN_TERMS),
    "all but landmarks": (*PICTURE_TERMS, *GAUSSIAN_TERMS),
}
"""Sums by the weights of params.yaml, as training adds them up."""
TRUE_LANDMARKS = "landmarks, if they were true"
PAIRS = 6
"""Of a person's frames."""
PLACES = ("predicted shape", "mean head")


def person_pairs(reader: ShardReader, clip: int) -> tuple[Pairs, FrameTruth]:
    """Pairs [B] of a clip's frames, half a clip apart and both ways, and the truth of their targets."""
    count = reader.num_frames(clip)
    frames = [Frames.from_arrays(*reader.image_and_mask(clip, k), reader.frame_landmarks(clip, k)) for k in range(count)]
    truths = [known for k in range(count) if (known := reader.frame_truth(clip, k)) is not None]
    near = [(k, k + count // 2) for k in range(min(PAIRS // 2, count - count // 2))]
    order = near + [(b, a) for a, b in near]
    pairs = Pairs(Frames.stack([frames[a] for a, _ in order]), Frames.stack([frames[b] for _, b in order]))
    return pairs, FrameTruth.stack([truths[b] for _, b in order])


def shape_gradients(
    models: Models, pairs: Pairs, truth: FrameTruth, background: Tensor, config: TrainingConfig, at_mean: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """The shapes [B, S] at which B pairs are looked at, and by term the gradient [B, S] there. truth: of the targets."""
    with torch.no_grad():
        source, target = models.reenactor.encode(pairs.source.colors(), pairs.target.colors())
    start = torch.zeros_like(source.params.shape) if at_mean else source.params.shape
    shape = start.clone().requires_grad_()
    source = source.replace(params=source.params.replace(shape=shape))
    codes = reenact(source, target)
    head = models.reenactor.draw(codes, pairs.source.colors(), background)
    terms: dict[str, Callable[[], Tensor]] = {
        **{k: v for k, v in landmark_terms(models, source, target, pairs, both_ways=False).items() if k == "landmarks"},
        TRUE_LANDMARKS: lambda: true_landmarks(models, codes, truth),
        **{k: v for k, v in picture_terms(models, head, codes, pairs, background).items() if k in PICTURE_TERMS},
    }
    assert head.gaussians is not None and head.views is not None, "the configuration draws Gaussians"
    of_gaussians = gaussian_terms(models, head.gaussians, head.views, head.vertices, config)
    terms |= {name: of_gaussians[name] for name in GAUSSIAN_TERMS}
    # Terms are means over the pairs, which do not meet: a row of the gradient is its own pair's, but for a common factor.
    found = {name: torch.autograd.grad(term(), shape, retain_graph=True)[0] for name, term in terms.items()}
    for name, parts in SUMS.items():
        found[name] = sum((getattr(config.weights, part) * found[part] for part in parts), torch.zeros_like(start))
    return start, found


def true_landmarks(models: Models, codes: HeadCodes, truth: FrameTruth) -> Tensor:
    """The landmark term with the renderer's own points in place of the detector's."""
    head = models.landmark_head
    predicted, _ = project(head.landmarks(head(codes.params).vertices), models.cameras)
    return landmark_loss(predicted[:, 0], truth.landmarks[..., :2], truth.seen, models.cameras.height)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def compare(gradient: Tensor, shape: Tensor, true: Tensor, metric: ShapeMetric) -> tuple[float, float]:
    """Of one gradient [S] at a shape [S]: the cosine of its descent with the step to the truth, and the share of the error
    (sheap.losses.shape_metric) that the best step along it takes away, negative where only a step uphill would help."""
    wanted, step = (true - shape) @ metric.factor, -gradient @ metric.factor
    along = cosine(step, wanted)
    return cosine(-gradient, true - shape), along * abs(along)


def measure(
    models: Models, config: TrainingConfig, shards: Path, people: int
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By place and term: `cosine` and `share` of single pairs, and `cosine_all`, `share_all` of the sum over a person's pairs."""
    reader = ShardReader(shards, verify_hashes=False)
    metric = ShapeMetric(models.network.head)
    found: dict[str, dict[str, dict[str, list[float]]]] = {place: {} for place in PLACES}
    for clip in [k for k in range(len(reader)) if reader.has_truth(k)][:people]:
        pairs, truth = person_pairs(reader, clip)
        background = random_backgrounds(len(pairs), torch.Generator().manual_seed(clip))
        for place in PLACES:
            shape, gradients = shape_gradients(models, pairs, truth, background, config, place == PLACES[1])
            for name, gradient in gradients.items():
                of_term = found[place].setdefault(name, {"cosine": [], "share": [], "cosine_all": [], "share_all": []})
                for k in range(len(pairs)):
                    alike, share = compare(gradient[k], shape[k], truth.shape[k], metric)
                    of_term["cosine"].append(alike)
                    of_term["share"].append(share)
                alike, share = compare(gradient.sum(0), shape.mean(0), truth.shape[0], metric)
                of_term["cosine_all"].append(alike)
                of_term["share_all"].append(share)
    return found


def write(found: Mapping[str, Mapping[str, Mapping[str, list[float]]]], num_shape: int, page: Page) -> None:
    people = len(next(iter(next(iter(found.values())).values()))["cosine_all"])
    page.line(f"{people} held-out people, {PAIRS} pairs of frames each. Cosine: of descent with the step to the true shape,")
    page.line(f"mean ± its standard error over people (by chance one pair's strays by {num_shape**-0.5:.3f} about 0). Share:")
    page.line("what the best step along it takes off the squared error of the face (below 0: it leads away).")
    for place, terms in found.items():
        page.line("")
        page.line(f"## At the {place}")
        rows = []
        for name, values in terms.items():
            cells = []
            for cosines, shares in (("cosine", "share"), ("cosine_all", "share_all")):
                of_people = np.reshape(values[cosines], (people, -1)).mean(1)
                error = float(np.std(of_people) / people**0.5)
                cells += [f"{np.mean(of_people):+.3f} ± {error:.3f}", f"{100 * np.mean(values[shares]):+.1f} %"]
            rows.append([name, *cells])
        page.table(["term", "cosine, one pair", "share", "cosine, a person's pairs together", "share"], rows)


def main() -> int:
    """Trains the drawing part, measures, prints and writes the page; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIGS / "shape_gradients.yaml")
    parser.add_argument("--shards", type=Path, default=Path("data/shards"), help="rendered people, those held out with truth")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="a folder for shape_gradients.json and the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        settings = ExperimentSettings.read(arguments.config)
        params = train_params(settings.changes, {"training.seed": settings.seeds[0]})
        trained = train(params, RunData.open(params, arguments.shards))
    except (ValueError, OSError) as error:
        print(f"shape_gradients: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    models = replace(trained.models, network=trained.models.network.eval())
    found = measure(models, params.training, arguments.shards / "val", arguments.people)
    page = Page("Which way each term pulls the shape", "python -m experiments.shape_gradients --out docs/results")
    write(found, models.network.head.num_shape, page)
    page.finish("shape_gradients", {"settings": settings.model_dump(mode="json"), "found": found}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
