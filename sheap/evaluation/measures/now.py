"""NoW: neutral faces against neutral scans, by the protocol of the challenge (docs/evaluation/now.md).

Joins metrics.json at its top, as the other stages read it: `model`, `mean_head` (and further methods in `others`),
`improvement`, `subjects`, `counts`, `benchmark`. Leaves errors.npz (every distance) and cumulative.json (curves).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from sheap.evaluation.measures.base import (
    MEAN_HEAD,
    MODEL,
    Figures,
    Inputs,
    Line,
    Measure,
    MeasureSettings,
    MissingInput,
    Plot,
    Table,
    error_table,
)
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.results import (
    CUMULATIVE_NAME,
    CURVE_MM,
    DistanceStatistics,
    NowEvaluation,
    read_cumulative,
)

ERRORS_NAME = "errors.npz"
OVERALL = "overall"


class NowSettings(MeasureSettings):
    """Which benchmark."""

    now_dir: Path = Field(json_schema_extra={"option": "--dataset"})
    """A benchmark in NoW's folder layout."""
    image_set: Literal["val", "test"]
    """Which of its image lists; the test set's scans are with its owners, so usually 'val'."""


class NowMeasure(Measure[NowSettings]):
    """Of the methods MODEL, MEAN_HEAD, and whatever else there is."""

    name: ClassVar[str] = "now"
    summary: ClassVar[str] = "The NoW error, as the official tool measures it."
    settings = NowSettings

    def check(self, settings: NowSettings) -> None:
        if not settings.now_dir.is_dir():
            raise MissingInput(f"{settings.now_dir}: missing", "name a NoW benchmark in evaluate.now_dir", "benchmark")

    def figures(self, settings: NowSettings, inputs: Inputs) -> dict[str, Any]:
        from sheap.evaluation.head_meshes import neutral
        from sheap.evaluation.now.evaluation import evaluate_methods

        dataset = NowDataset.open(settings.now_dir, settings.image_set)
        counts, predictions = inputs.predict(dataset)
        sources = {name: neutral(found) for name, found in predictions.items()}
        evaluations = evaluate_methods(dataset, sources, num_workers=inputs.num_workers)
        for name, evaluation in evaluations.items():
            if evaluation.malformed:
                image, reason = next(iter(evaluation.malformed.items()))
                raise ValueError(f"{name}: the prediction for {image} cannot be measured: {reason}")
        _write_distances(inputs.folder, evaluations)
        statistics = {name: evaluation.statistics() for name, evaluation in evaluations.items()}
        plain = {name: {key: asdict(value) for key, value in found.items()} for name, found in statistics.items()}
        others = {name: plain[name] for name in plain if name not in (MODEL, MEAN_HEAD)}
        model, mean_head = statistics[MODEL], statistics[MEAN_HEAD]
        return {
            "benchmark": {
                "folder": str(settings.now_dir),
                "sha256": dataset.fingerprint(),
                "num_images": len(dataset.images),
                "num_subjects": len(dataset.subjects),
            },
            MODEL: plain[MODEL],
            MEAN_HEAD: plain[MEAN_HEAD],
            **({"others": others} if others else {}),
            "improvement": {name: improvement(model[name], mean_head[name]) for name in model},
            "subjects": _subjects(evaluations),
            "counts": {
                "images": len(dataset.images),
                "predicted": len(counts.predicted),
                "cropped_by_landmarks": len(counts.by_landmarks),
                "cropped_by_box": [str(image) for image in counts.by_box],
                "without_face": [str(image) for image in counts.without_face],
                "missing": evaluations[MODEL].num_missing_files,
                "warned": {
                    str(item.image): list(item.warnings) for item in evaluations[MODEL].evaluated if item.warnings
                },
            },
        }

    def tables(self, metrics: Figures) -> list[Table]:
        notes = []
        if "counts" in metrics:
            counts = metrics["counts"]
            without = f"; without a face: {', '.join(counts['without_face'])}" if counts["without_face"] else ""
            notes = [
                f"Predicted {counts['predicted']} of {counts['images']} images, {len(counts['cropped_by_box'])} of them "
                f"cropped by the benchmark's face box because no landmarks were found{without}."
            ]
        benchmark = metrics["benchmark"]
        text = (
            f"NoW protocol on {benchmark['folder']}, {benchmark['num_images']} images: millimetres from every scan vertex "
            "to the aligned prediction, pooled over all images of a challenge. The mean head is the same head for "
            "everybody, measured on the same images. Only figures of one benchmark can be compared."
        )
        return [error_table("NoW", text, methods_of(metrics), "challenge", ("median_mm", "mean_mm", "std_mm"), notes)]

    def plots(self, metrics: Figures, folder: Path) -> list[Plot]:
        curves = read_cumulative(folder / CUMULATIVE_NAME)
        errors = methods_of(metrics)
        lacking = [method for method in errors if OVERALL not in curves.percent.get(method, {})]
        if lacking:
            raise ValueError(f"{folder / CUMULATIVE_NAME}: lacks the curve of {lacking[0]}")
        lines = tuple(
            Line(method, curves.error_mm, curves.percent[method][OVERALL], figures[OVERALL]["median_mm"])
            for method, figures in errors.items()
        )
        text = "All images together. Dotted: the medians. Farther left and higher is better."
        return [Plot("Cumulative error", text, "error (mm)", "scan vertices within the error (%)", lines, 100)]


def methods_of(metrics: Figures) -> dict[str, Mapping[str, Figures]]:
    """NoW's figures by method, the model and the mean head first."""
    return {MODEL: metrics[MODEL], MEAN_HEAD: metrics[MEAN_HEAD], **metrics.get("others", {})}


def improvement(model: DistanceStatistics, mean_head: DistanceStatistics) -> dict[str, float]:
    """How much lower the model's median is (mm, and percent of the mean head's); negative when it is higher."""
    gain = mean_head.median_mm - model.median_mm
    return {"median_mm": gain, "median_percent": 100.0 * gain / mean_head.median_mm}


def _subjects(evaluations: Mapping[str, NowEvaluation]) -> dict[str, dict[str, float]]:
    """Medians of every subject's vertices, methods side by side."""
    statistics = {name: evaluation.subject_statistics() for name, evaluation in evaluations.items()}
    return {
        subject: {
            "images": figures.images,
            **{f"{name}_median_mm": found[subject].median_mm for name, found in statistics.items()},
        }
        for subject, figures in statistics[MODEL].items()
    }


def _write_distances(folder: Path, evaluations: Mapping[str, NowEvaluation]) -> None:
    curves = {name: evaluation.cumulative_curves() for name, evaluation in evaluations.items()}
    content = {"error_mm": CURVE_MM.tolist(), "percent": curves}
    (folder / CUMULATIVE_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    np.savez_compressed(
        folder / ERRORS_NAME,
        allow_pickle=False,
        **{
            f"{name}/{challenge}": np.concatenate(evaluation.distances(challenge)).astype(np.float32)
            for name, evaluation in evaluations.items()
            for challenge in evaluation.statistics()
            if challenge != OVERALL
        },
    )
