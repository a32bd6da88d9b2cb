"""The expression benchmark's part of the evaluate stage: predictions with their expression, measured by region."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.stage import StageError
from sheap.evaluation.expression_dataset import ExpressionDataset
from sheap.evaluation.expression_error import evaluate_expressions
from sheap.evaluation.now_prediction import (
    FaceFinder,
    Predictor,
    expressive_meshes,
    neutral_meshes,
    predict_folders,
    write_mean_head,
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
    with TemporaryDirectory() as name:
        submissions = {method: Path(name) / method for method in METHODS}
        model, identity, mean_head = submissions.values()
        outputs = {model: expressive_meshes, identity: lambda head, params: neutral_meshes(head, params.shape)}
        summary = predict_folders(dataset, predictor, outputs, face_finder=finder, batch_size=batch_size)
        if not summary.predicted:
            raise StageError(f"{root}: no face found in any of {len(dataset.images)} pictures")
        predicted = sorted(summary.predicted, key=str)
        write_mean_head(predicted, predictor.head, mean_head)
        figures = evaluate_expressions(dataset, submissions, predicted)
    for values in figures.values():
        assert not values.pop("missing"), "only predicted images are measured"
    medians = {name: f"{values['overall']['median_mm']:.3f}" for name, values in figures.items()}
    log.info("expressions, median mm on %d images: %s", len(predicted), medians)
    return {
        "folder": str(root),
        "num_images": len(dataset.images),
        "without_face": [str(image) for image in summary.without_face],
        "methods": figures,
    }
