"""How well do error estimators rank predictors? `python -m experiments.estimator_ranking`.

On the rendered benchmark the true heads are known, so every estimator can be compared with the true error: for each
predictor (known distortions of the truth, the mean head and, where they are named, trained models) the mean error over
all subjects by the true correspondences, by NoW, by landmarks and closest points alone, and after non-rigid alignment.
Printed are the errors, and each estimator's correlation with the truth. See docs/evaluation/estimators.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau, pearsonr, spearmanr
from torch import Tensor

from experiments.benchmark_score import NetworkPredictor
from experiments.distorted_heads import PREDICTORS, Subject, head_model, neutral_mm
from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.mesh_files import TriangleMesh
from sheap.evaluation.nonrigid_error import nonrigid_errors
from sheap.evaluation.now.crop import face_crop
from sheap.evaluation.now.dataset import NowDataset, NowScan
from sheap.evaluation.now.metric import NowResult
from sheap.evaluation.now.subject import evaluate_prediction
from sheap.evaluation.now.submission import NowPrediction
from sheap.evaluation.picture_crops import crop_by_landmarks
from sheap.evaluation.pictures import read_picture
from sheap.evaluation.predictions import Predictor
from sheap.evaluation.rendered_truth import read_true_shapes
from sheap.evaluation.similarity import Similarity, procrustes
from sheap.evaluation.true_error import true_vertex_errors
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.video.crops import cut_crop
from sheap.video.face_landmarker import FaceLandmarker

Floats = NDArray[np.float64]

PICK_MM = 0.3
"""Spread of the picked landmarks, as of the benchmark's own seven."""

DENSE_LANDMARKS = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
"""The 51 inner points of the usual 68, among MediaPipe's 478."""


def model_shapes(
    dataset: NowDataset, subjects: tuple[str, ...], predictor: Predictor, limit: int
) -> dict[str, NDArray[np.float32]]:
    """A trained model's identity of each subject: the mean of its coefficients over the first `limit` photos."""
    finder, shapes = FaceLandmarker(), {}
    for subject in subjects:
        crops = []
        for image in dataset.of_subject(subject)[:limit]:
            picture = read_picture(dataset.image_path(image))
            crop = crop_by_landmarks(finder.process(picture), dataset.face_box(image))
            if crop is not None:
                crops.append(cut_crop(picture, crop, predictor.image_size))
        if not crops:
            raise ValueError(f"{subject}: no face found in its photos")
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
        shapes[subject] = predictor.predict(batch).shape.mean(0).numpy()
    return shapes


# --- estimators: one number for a prediction --------------------------------------------------------------------------


def measure_subject(root: Path, subject: Subject, predictions: dict[str, Floats]) -> dict[str, dict[str, float]]:
    """Mean error (mm) by predictor and estimator, for one subject. Runs in a worker process."""
    head = head_model()
    faces, face = head.faces.numpy(), head.region_masks["face"].numpy()
    scan = NowDataset.open(root).scan(subject.name)
    tree = TriangleTree(scan.mesh.vertices, scan.mesh.faces)
    to_scan = _place_on_scan(scan, subject.truth, faces)
    crop = face_crop(scan.landmarks.astype(np.float64))
    region = face & (np.linalg.norm(to_scan.apply(subject.truth) - crop.center, axis=1) <= crop.radius)
    picked = to_scan.apply(_landmarks(subject.truth, DENSE_LANDMARKS))
    picked += np.random.default_rng(3000 + subject.seed).normal(0, PICK_MM / np.sqrt(3), picked.shape)
    points = scan.mesh.vertices[crop.indices(scan.mesh.vertices)]
    found: dict[str, dict[str, float]] = {}
    for name, vertices in predictions.items():
        seven, dense = _landmarks(vertices, None), _landmarks(vertices, DENSE_LANDMARKS)
        by_landmarks = procrustes(scan.landmarks.astype(np.float64), seven, allow_reflection=False)
        placed = TriangleTree(by_landmarks.apply(vertices), faces)
        found[name] = {
            "true": float(true_vertex_errors(vertices, subject.truth, region).mean()),
            "NoW": float(_now(scan, vertices, faces, seven).distances.mean()),
            "landmarks + closest": float(placed.query(points).distances.mean()),
            "non-rigid, 7": float(nonrigid_errors(tree, scan.landmarks, vertices, faces, seven, scan.landmarks, face).mean()),
            "non-rigid, 51": float(nonrigid_errors(tree, picked, vertices, faces, dense, scan.landmarks, face).mean()),
            "spline, 7": float(
                nonrigid_errors(tree, scan.landmarks, vertices, faces, seven, scan.landmarks, face, "spline").mean()
            ),
            "spline, 51": float(nonrigid_errors(tree, picked, vertices, faces, dense, scan.landmarks, face, "spline").mean()),
        }
    return found


def _landmarks(vertices: Floats, indices: tuple[int, ...] | None) -> Floats:
    """NoW's seven (None), or the given ones of MediaPipe's, on a mesh of the open head."""
    head, mesh = head_model(), torch.from_numpy(vertices)
    return head.now_landmarks(mesh).numpy() if indices is None else head.landmarks(mesh)[list(indices)].numpy()


def _now(scan: NowScan, vertices: Floats, faces: NDArray[np.int64], landmarks: Floats) -> NowResult:
    return evaluate_prediction(scan, NowPrediction(TriangleMesh(vertices, faces), landmarks))


def _place_on_scan(scan: NowScan, truth: Floats, faces: NDArray[np.int64]) -> Similarity:
    """From the head's frame to the scanner's: the truth aligned to its own scan."""
    result = _now(scan, truth, faces, _landmarks(truth, None))
    return Similarity(result.scale, result.rotation, result.translation)


# --- ranking ----------------------------------------------------------------------------------------------------------


def mean_errors(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over subjects, by predictor and estimator, in the order of the true error."""
    names, estimators = found[0], next(iter(found[0].values()))
    table = {
        name: {estimator: float(np.mean([one[name][estimator] for one in found])) for estimator in estimators} for name in names
    }
    return dict(sorted(table.items(), key=lambda item: item[1]["true"]))


def agreement(table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Each estimator's correlation with the true error over the predictors, and pairs that it ranks the wrong way."""
    true = np.array([errors["true"] for errors in table.values()])
    result = {}
    for estimator in next(iter(table.values())):
        if estimator == "true":
            continue
        values = np.array([errors[estimator] for errors in table.values()])
        first, second = np.triu_indices(len(true), 1)
        wrong = ((true[first] - true[second]) * (values[first] - values[second]) < 0).sum()
        result[estimator] = {
            "pearson": float(pearsonr(values, true)[0]),
            "spearman": float(spearmanr(values, true)[0]),
            "kendall": float(kendalltau(values, true)[0]),
            "pairs_ranked_wrongly": int(wrong),
            "pairs": len(first),
        }
    return result


def as_markdown(table: dict[str, dict[str, float]], agreements: dict[str, dict[str, float]]) -> str:
    """Both tables; in brackets an estimator's rank of the predictor."""
    estimators = list(next(iter(table.values())))
    ranks = {
        estimator: {name: rank for rank, name in enumerate(sorted(table, key=lambda n: table[n][estimator]), 1)}
        for estimator in estimators
    }
    lines = [f"| predictor | {' | '.join(estimators)} |", "|---|" + "---|" * len(estimators)]
    for name, errors in table.items():
        cells = (f"{errors[estimator]:.2f} ({ranks[estimator][name]})" for estimator in estimators)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| estimator | Pearson | Spearman | Kendall | pairs ranked wrongly |", "|---|---|---|---|---|"]
    for estimator, row in agreements.items():
        lines.append(
            f"| {estimator} | {row['pearson']:.2f} | {row['spearman']:.2f} | {row['kendall']:.2f} | "
            f"{row['pairs_ranked_wrongly']} of {row['pairs']} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Prints the tables; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, default=Path("data/benchmark"), help="a rendered benchmark")
    parser.add_argument("--subjects", type=int, default=10, help="at most so many of its subjects")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a model folder; may be repeated")
    parser.add_argument("--checkpoints", type=Path, help="a folder with state.pt files of one training run below it")
    parser.add_argument("--preset", default="tiny", help="the network's size in --checkpoints")
    parser.add_argument("--photos", type=int, default=4, help="photos of a subject that a model sees")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    try:
        return rank(arguments)
    except (ValueError, OSError) as error:
        print(f"estimator_ranking: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def rank(arguments: argparse.Namespace) -> int:
    """What `main` parsed, done."""
    dataset = NowDataset.open(arguments.benchmark)
    shapes = read_true_shapes(arguments.benchmark)
    if shapes is None:
        raise ValueError(f"{arguments.benchmark}: not a rendered benchmark: no truth to rank by")
    names = dataset.subjects[: arguments.subjects]
    subjects = [Subject(name, shapes[name], neutral_mm(shapes[name]), seed) for seed, name in enumerate(names)]
    predictions = {subject.name: {name: make(subject) for name, make in PREDICTORS.items()} for subject in subjects}
    for label, predictor in predictors(arguments):
        learnt = model_shapes(dataset, names, predictor, arguments.photos)
        for subject in subjects:
            predictions[subject.name][label] = neutral_mm(learnt[subject.name])
    table = mean_errors(_measure(arguments.benchmark, subjects, predictions, arguments.workers))
    agreements = agreement(table)
    print(f"{len(subjects)} subjects of {arguments.benchmark}; mean error in mm, rank in brackets\n")
    print(as_markdown(table, agreements))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"errors_mm": table, "agreement": agreements}, indent=1) + "\n")
    return 0


def _measure(
    root: Path, subjects: list[Subject], predictions: dict[str, dict[str, Floats]], workers: int
) -> list[dict[str, dict[str, float]]]:
    """`measure_subject` of each, in so many processes."""
    jobs = [(root, subject, predictions[subject.name]) for subject in subjects]
    if workers == 1:
        return [measure_subject(*job) for job in jobs]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(measure_subject, *zip(*jobs, strict=True)))


def predictors(arguments: argparse.Namespace) -> Iterator[tuple[str, Predictor]]:
    """Every model and checkpoint that is named, with its label."""
    for folder in arguments.model:
        yield f"model {folder}", SheapPredictor.load(folder)
    if arguments.checkpoints is not None:
        paths = sorted(arguments.checkpoints.rglob("checkpoint_*/state.pt"))
        if not paths:
            raise ValueError(f"{arguments.checkpoints}: no checkpoint_*/state.pt below it")
        for path in paths:
            document = torch.load(path, map_location="cpu", weights_only=True)
            yield f"trained, step {document['step']}", NetworkPredictor(
                _checkpoint_network(document["average"], arguments.preset)
            )


def _checkpoint_network(weights: dict[str, Tensor], preset: str) -> SheapNetwork:
    """The averaged network of a training checkpoint, on the open head."""
    if preset not in PRESETS:
        raise ValueError(f"--preset: '{preset}' is unknown (known: {', '.join(PRESETS)})")
    network = SheapNetwork(PRESETS[preset], head_model(), image_feature_size=None)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"--checkpoints: do not fit the preset '{preset}' ({str(error)[:200]})") from None
    return network.eval()


if __name__ == "__main__":
    sys.exit(main())
