"""The expression benchmark's part of the evaluate stage: predictions with their expression, measured by region."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.stage import StageError
from sheap.evaluation.expression_dataset import ExpressionDataset
from sheap.evaluation.expression_error import ExpressionTally, evaluate_expression
from sheap.evaluation.predictions import (
    FaceFinder,
    Predictor,
    Receiver,
    expressive_meshes,
    mean_prediction,
    neutral_of,
    predict_images,
)

METHODS = ("model", "identity_alone", "mean_head")
"""The prediction as it is; its identity with a neutral face, which tells what the predicted expression is worth; and
the mean head, neutral as well."""

log = logging.getLogger("evaluate")


def evaluate_on_expressions(root: Path, predictor: Predictor, finder: FaceFinder, batch_size: int) -> dict[str, Any]:
    """The benchmark's figures by method and region.

    Raises StageError when no face is found in any picture, OSError or ValueError as the dataset does.
    """
    dataset = ExpressionDataset.open(root)
    tallies = {method: ExpressionTally() for method in METHODS}
    scan_of = lru_cache(maxsize=batch_size)(dataset.scan)

    def measure(method: str) -> Receiver:
        return lambda image, prediction: tallies[method].add(evaluate_expression(scan_of(image), prediction))

    receivers = [(expressive_meshes, measure("model")), (neutral_of, measure("identity_alone"))]
    summary = predict_images(dataset, predictor, receivers, face_finder=finder, batch_size=batch_size)
    if not summary.predicted:
        raise StageError(f"{root}: no face found in any of {len(dataset.images)} pictures")
    mean_head = mean_prediction(predictor.head)
    for image in dataset.images:
        if image in summary.predicted:
            measure("mean_head")(image, mean_head)
    figures = {method: tally.figures() for method, tally in tallies.items()}
    medians = {name: f"{values['overall']['median_mm']:.3f}" for name, values in figures.items()}
    log.info("expressions, median mm on %d images: %s", len(summary.predicted), medians)
    return {
        "folder": str(root),
        "num_images": len(dataset.images),
        "without_face": [str(image) for image in summary.without_face],
        "methods": figures,
    }
