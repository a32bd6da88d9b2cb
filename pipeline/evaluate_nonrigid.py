"""The non-rigid estimate's part of the evaluate stage, of the submissions that were written for NoW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.now.closest_point import TriangleTree
from sheap.evaluation.nonrigid_error import nonrigid_errors
from sheap.evaluation.now.dataset import NowDataset, NowImage
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import read_prediction
from sheap.head import HeadModel

SURFACE_REGION = "face"
"""The part of the head model that a scanner sees of a face; a model without that region is measured as a whole."""


def evaluate_nonrigidly(
    dataset: NowDataset, submissions: Mapping[str, Path], images: Sequence[NowImage], head: HeadModel
) -> dict[str, Any]:
    """Statistics of the non-rigid errors (mm) over all vertices of all images, by submission."""
    region = head.region_masks.get(SURFACE_REGION)
    surface = None if region is None else region.cpu().numpy()
    errors: dict[str, list[NDArray[np.float64]]] = {name: [] for name in submissions}
    for subject in dict.fromkeys(image.subject for image in images):
        scan = dataset.scan(subject)
        tree = TriangleTree(scan.mesh.vertices, scan.mesh.faces)
        known: dict[bytes, NDArray[np.float64]] = {}
        for image in (image for image in images if image.subject == subject):
            for name, folder in submissions.items():
                found = read_prediction(folder, image)
                # The mean head is the same for every picture of a person.
                key = found.mesh.vertices.tobytes()
                if key not in known:
                    known[key] = nonrigid_errors(
                        tree, scan.landmarks, found.mesh.vertices, found.mesh.faces, found.landmarks, scan.landmarks,
                        surface,
                    )  # fmt: skip
                errors[name].append(known[key])
    statistics = {name: DistanceStatistics.of(found) for name, found in errors.items()}
    return {name: asdict(value) for name, value in statistics.items() if value is not None}
