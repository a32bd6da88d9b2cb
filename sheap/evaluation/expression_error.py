"""Errors of faces with an expression: NoW's alignment and distances, on the scan of the moment, told by region.

As in NoW, scale, rotation and translation are refined from the seven landmarks' alignment on, and every scan point
within the face's ball counts with its distance to the predicted surface. Other than in NoW, prediction and scan carry
the expression, and a scan may be a point cloud.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.expression_dataset import ExpressionDataset, ExpressionImage, ExpressionScan
from sheap.evaluation.face_regions import REGIONS, face_regions
from sheap.evaluation.now import NowResult, NowWarning, evaluate_pair
from sheap.evaluation.now_results import DistanceStatistics
from sheap.evaluation.now_submission import MissingPrediction, NowPrediction, read_prediction

OVERALL = "overall"


@dataclass(frozen=True)
class ExpressionResult:
    """distances [P] (mm) of the scan's points in the face, masks [P] by region, and the metric's warnings."""

    distances: NDArray[np.float64]
    regions: dict[str, NDArray[np.bool_]]
    warnings: tuple[str, ...]


def evaluate_expression(scan: ExpressionScan, prediction: NowPrediction) -> ExpressionResult:
    """One prediction against the scan of its moment. Raises ValueError as evaluate_pair does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NowWarning)
        result: NowResult = evaluate_pair(
            *(scan.points, None, scan.landmarks),
            *(prediction.mesh.vertices, prediction.mesh.faces, prediction.landmarks),
        )
    regions = face_regions(scan.points[result.scan_indices], scan.landmarks)
    return ExpressionResult(result.distances, regions, result.warnings)


def evaluate_expressions(
    dataset: ExpressionDataset, submissions: Mapping[str, Path], images: Iterable[ExpressionImage]
) -> dict[str, dict[str, Any]]:
    """By submission: statistics over all points of all images, 'overall' and by region (mm), as plain JSON.

    Predictions lie in NoW's submission format, with the expression: SUBJECT/SEQUENCE/IMAGE.obj and its seven landmarks.
    'missing' names images without a prediction. Raises ValueError for an image that cannot be measured, and for a
    submission without any prediction.
    """
    distances: dict[str, dict[str, list[NDArray[np.float64]]]] = {
        submission: {name: [] for name in (OVERALL, *REGIONS)} for submission in submissions
    }
    missing: dict[str, list[str]] = {submission: [] for submission in submissions}
    for image in images:
        scan = dataset.scan(image)
        for submission, folder in submissions.items():
            try:
                result = evaluate_expression(scan, read_prediction(folder, image))
            except MissingPrediction:
                missing[submission].append(str(image))
                continue
            except ValueError as error:
                raise ValueError(f"{image}: {error}") from None
            distances[submission][OVERALL].append(result.distances)
            for name in REGIONS:
                distances[submission][name].append(result.distances[result.regions[name]])
    return {
        submission: _figures(distances[submission], submissions[submission]) | {"missing": missing[submission]}
        for submission in submissions
    }


def _figures(distances: Mapping[str, list[NDArray[np.float64]]], folder: Path) -> dict[str, Any]:
    statistics = {name: DistanceStatistics.of(found) for name, found in distances.items()}
    if statistics[OVERALL] is None:
        raise ValueError(f"{folder}: no prediction for any image of the benchmark")
    return {name: asdict(value) for name, value in statistics.items() if value is not None}
