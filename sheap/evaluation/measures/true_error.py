"""The true error on rendered people, whose heads are known: distances of corresponding vertices of the face."""

from __future__ import annotations

from typing import Any, ClassVar

from sheap.evaluation.measures.base import Figures, Inputs, Measure, Table, error_table
from sheap.evaluation.measures.now import NowSettings
from sheap.evaluation.now.dataset import NowDataset


class TrueErrorMeasure(Measure[NowSettings]):
    name: ClassVar[str] = "true_error"
    summary: ClassVar[str] = "Distances of corresponding vertices on rendered people, whose true heads are known."
    settings = NowSettings

    def figures(self, settings: NowSettings, inputs: Inputs) -> dict[str, Any]:
        from sheap.evaluation.head_meshes import neutral
        from sheap.evaluation.rendered_truth import is_open_head, read_true_shapes, true_errors

        shapes = read_true_shapes(settings.now_dir)
        # The truth is of the open head: it says nothing about a mesh of another one.
        if shapes is None or not all(is_open_head(method.predictor.head) for method in inputs.methods):
            return {}
        counts, predictions = inputs.predict(NowDataset.open(settings.now_dir, settings.image_set))
        sources = {name: neutral(found) for name, found in predictions.items()}
        head = inputs.methods[0].predictor.head
        return {self.name: true_errors(head, shapes, sources, sorted(counts.predicted))}

    def tables(self, metrics: Figures) -> list[Table]:
        if self.name not in metrics:
            return []
        text = (
            "Because these people are rendered, the true heads are known: millimetres between corresponding vertices of the "
            "face, after scale, rotation and translation."
        )
        return [error_table("True error", text, metrics[self.name], "challenge")]
