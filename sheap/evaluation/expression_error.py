"""Errors of faces with an expression: NoW's alignment and distances, on the scan of the moment, told by region.

As in NoW, scale, rotation and translation are refined from the seven landmarks' alignment on, and every scan point
within the face's ball counts with its distance to the predicted surface. Other than in NoW, prediction and scan carry
the expression, and a scan may be a point cloud.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.expression_dataset import ExpressionDataset, ExpressionImage, ExpressionScan
from sheap.evaluation.face_regions import REGIONS, face_regions
from sheap.evaluation.now.metric import NowResult, NowWarning, check_scan, evaluate_pair
from sheap.evaluation.now.refinement import compile_kernels
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import MeshSource, MissingPrediction, NowPrediction
from sheap.evaluation.time_limit import TimeLimit

OVERALL = "overall"


@dataclass(frozen=True)
class ExpressionResult:
    """distances [P] (mm) of the scan's points in the face, masks [P] by region, and the metric's warnings."""

    distances: NDArray[np.float64]
    regions: dict[str, NDArray[np.bool_]]
    warnings: tuple[str, ...]


def evaluate_expression(
    scan: ExpressionScan, prediction: NowPrediction, time_limit: TimeLimit | None = None
) -> ExpressionResult:
    """One prediction against the scan of its moment. Raises ValueError as evaluate_pair does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NowWarning)
        result: NowResult = evaluate_pair(
            *(scan.points, None, scan.landmarks),
            *(prediction.mesh.vertices, prediction.mesh.faces, prediction.landmarks),
            time_limit=time_limit,
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
    dataset: ExpressionDataset,
    methods: Mapping[str, MeshSource],
    *,
    malformed: dict[ExpressionImage, str] | None = None,
    image_timeout_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, dict[str, dict[str, Any]]], tuple[ExpressionImage, ...]]:
    """Figures of every method as of ExpressionTally, and the pictures for which one has no prediction.

    Predictions carry the expression; so do the scans, each of which is read once. malformed: filled with the pictures whose
    prediction cannot be used, or takes longer than image_timeout_s, and why; where it is None, the first such one is an error.
    `progress(done, total)` is called after every picture. Raises OSError or ValueError naming a broken scan, or the method that
    has no usable prediction at all.
    """
    tallies = {name: ExpressionTally() for name in methods}
    missing: dict[str, list[ExpressionImage]] = {name: [] for name in methods}
    broken: dict[str, dict[ExpressionImage, str]] = {name: {} for name in methods}
    if image_timeout_s is not None:
        compile_kernels()
    for done, image in enumerate(dataset.images, start=1):
        scan: ExpressionScan | None = None
        for name, source in methods.items():
            limit = TimeLimit(image_timeout_s)
            try:
                prediction = source.of_images([image]).read(image)
                scan = _sound_scan(dataset, image) if scan is None else scan
                tallies[name].add(evaluate_expression(scan, prediction, limit))
            except MissingPrediction:
                missing[name].append(image)
            except BrokenScan:
                raise
            except ValueError as error:
                if malformed is None:
                    raise ValueError(f"{image}: {error}") from None
                broken[name][image] = malformed[image] = str(error)
        if progress is not None:
            progress(done, len(dataset.images))
    for name in methods:
        if len(missing[name]) + len(broken[name]) == len(dataset.images):
            first = next((f" (first: {reason})" for reason in broken[name].values()), "")
            raise ValueError(f"{name}: no prediction for any image of {dataset.root} can be measured{first}")
    without = {image for absent in missing.values() for image in absent}
    return {name: tally.figures() for name, tally in tallies.items()}, tuple(i for i in dataset.images if i in without)


class BrokenScan(ValueError):
    """What everything is measured against cannot be used."""


def _sound_scan(dataset: ExpressionDataset, image: ExpressionImage) -> ExpressionScan:
    try:
        scan = dataset.scan(image)
        check_scan(scan.points, None, scan.landmarks)
    except ValueError as error:
        raise BrokenScan(f"{image}: {error}") from None
    return scan
