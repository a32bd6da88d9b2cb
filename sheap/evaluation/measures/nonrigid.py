"""The estimate of the true error after non-rigid alignment (docs/evaluation/estimators.md), on NoW's pictures."""

from __future__ import annotations

from typing import Any, ClassVar

from sheap.evaluation.measures.base import Figures, Inputs, Measure, Table, error_table
from sheap.evaluation.measures.now import NowSettings
from sheap.evaluation.now.dataset import NowDataset

SURFACE_REGION = "face"
"""The part of the head model that a scanner sees of a face; a model without that region is measured as a whole."""


class NonrigidSettings(NowSettings):
    """Whether, beside NoW's own."""

    nonrigid: bool
    """Adds the estimate after non-rigid alignment (docs/evaluation/estimators.md)."""


class NonrigidMeasure(Measure[NonrigidSettings]):
    name: ClassVar[str] = "nonrigid"
    summary: ClassVar[str] = "The error after non-rigid alignment, an estimate of the true one."
    settings = NonrigidSettings

    def is_wanted(self, settings: NonrigidSettings) -> bool:
        return settings.nonrigid

    def figures(self, settings: NonrigidSettings, inputs: Inputs) -> dict[str, Any]:
        from sheap.evaluation.head_meshes import neutral
        from sheap.evaluation.nonrigid_error import nonrigid_statistics

        dataset = NowDataset.open(settings.now_dir, settings.image_set)
        counts, predictions = inputs.predict(dataset)
        images = [image for image in dataset.images if image in counts.predicted]
        figures: dict[str, Any] = {}
        for name, found in predictions.items():
            region = found.head.region_masks.get(SURFACE_REGION)
            surface = None if region is None else region.cpu().numpy()
            figures |= nonrigid_statistics(dataset, {name: neutral(found)}, images, surface)
        return {self.name: figures}

    def tables(self, metrics: Figures) -> list[Table]:
        if self.name not in metrics:
            return []
        text = "Millimetres after the prediction was bent onto the scan to learn which points correspond."
        errors = {name: {"overall": figures} for name, figures in metrics[self.name].items()}
        return [error_table("Non-rigid estimate", text, errors, "images of", ("median_mm", "mean_mm"))]
