"""Faces with an expression against scans of the same moment, by region (docs/evaluation/expressions.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sheap.evaluation.measures.base import (
    MODEL,
    Figures,
    Inputs,
    Measure,
    MeasureSettings,
    MissingInput,
    Table,
    error_table,
    unreadable_notes,
)

if TYPE_CHECKING:
    from sheap.evaluation.now.submission import MeshSource

IDENTITY_ALONE = "identity_alone"


class ExpressionSettings(MeasureSettings):
    """Which benchmark."""

    expressions_dir: Path | None = Field(json_schema_extra={"option": "--dataset"})
    """A benchmark of faces with an expression (sheap.evaluation.expression_dataset); null leaves it out."""


class ExpressionMeasure(Measure[ExpressionSettings]):
    """By method; a predictor's identity with a neutral face tells what its expression is worth."""

    name: ClassVar[str] = "expressions"
    summary: ClassVar[str] = "Errors of faces with an expression, by region."
    settings = ExpressionSettings

    def is_wanted(self, settings: ExpressionSettings) -> bool:
        return settings.expressions_dir is not None

    def check(self, settings: ExpressionSettings) -> None:
        folder = settings.expressions_dir
        if folder is not None and not folder.is_dir():
            raise MissingInput(f"{folder}: missing", "set evaluate.expressions_dir to null", "benchmark")

    def figures(self, settings: ExpressionSettings, inputs: Inputs) -> dict[str, Any]:
        from sheap.evaluation.expression_dataset import ExpressionDataset
        from sheap.evaluation.expression_error import evaluate_expressions
        from sheap.evaluation.head_meshes import expressive, neutral

        assert settings.expressions_dir is not None, "is_wanted"
        dataset = ExpressionDataset.open(settings.expressions_dir)
        counts, predictions = inputs.predict(dataset)
        sources: dict[str, MeshSource] = {}
        for name, found in predictions.items():
            sources[name] = expressive(found)
            if name in inputs.predictors:
                sources[IDENTITY_ALONE if name == MODEL else f"{name}_{IDENTITY_ALONE}"] = neutral(found)
        figures, _ = evaluate_expressions(dataset, sources)
        return {
            self.name: {
                "folder": str(settings.expressions_dir),
                "num_images": len(dataset.images),
                "without_face": [str(image) for image in counts.without_face],
                "unreadable": {str(image): reason for image, reason in counts.unreadable.items()},
                "methods": figures,
            }
        }

    def tables(self, metrics: Figures) -> list[Table]:
        if self.name not in metrics:
            return []
        section = metrics[self.name]
        text = (
            f"Median millimetres from the scan of the moment to the aligned prediction, by region, on {section['num_images']} "
            f"images of {section['folder']}. The identity alone is the same prediction with a neutral face: what lies between "
            "the two is what the predicted expression is worth."
        )
        notes = unreadable_notes(section.get("unreadable", {}))
        return [error_table("Faces with an expression", text, section["methods"], "region", notes=notes)]
