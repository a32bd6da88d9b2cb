"""Errors of faces with an expression: NoW's alignment and distances, on the scan of the moment, told by region.

As in NoW, scale, rotation and translation are refined from the seven landmarks' alignment on, and every scan point
within the face's ball counts with its distance to the predicted surface. Other than in NoW, prediction and scan carry
the expression, and a scan may be a point cloud.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.expression_dataset import ExpressionDataset, ExpressionImage, ExpressionScan
from sheap.evaluation.face_regions import REGIONS, face_regions
from sheap.evaluation.now.metric import NowResult, NowWarning, evaluate_pair
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import MissingPrediction, NowPrediction, read_prediction

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


class ExpressionTally:
    """Gathers the results of a method over many pictures."""

    def __init__(self) -> None:
        self._distances: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (OVERALL, *REGIONS)}

    def add(self, result: ExpressionResult) -> None:
        """One picture's distances, each with its region."""
        self._distances[OVERALL].append(result.distances)
        for name, mask in result.regions.items():
            self._distances[name].append(result.distances[mask])

    def figures(self) -> dict[str, dict[str, Any]]:
        """Statistics over all points of all pictures, 'overall' and by region (mm), as plain JSON; {} without any."""
        statistics = {name: DistanceStatistics.of(found) for name, found in self._distances.items()}
        return {name: asdict(value) for name, value in statistics.items() if value is not None}


def evaluate_expressions(
    dataset: ExpressionDataset, predictions: Path
) -> tuple[dict[str, dict[str, Any]], tuple[ExpressionImage, ...]]:
    """A submission's figures as of ExpressionTally, and the pictures without a prediction.

    Predictions lie in NoW's submission format, with the expression: SUBJECT/SEQUENCE/IMAGE.obj and its seven landmarks.
    Raises ValueError naming a picture that cannot be measured, or the folder when it has no prediction at all.
    """
    tally, missing = ExpressionTally(), []
    for image in dataset.images:
        try:
            prediction = read_prediction(predictions, image)
        except MissingPrediction:
            missing.append(image)
            continue
        try:
            tally.add(evaluate_expression(dataset.scan(image), prediction))
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from None
    if len(missing) == len(dataset.images):
        raise ValueError(f"{predictions}: no prediction for any image of {dataset.root}")
    return tally.figures(), tuple(missing)
