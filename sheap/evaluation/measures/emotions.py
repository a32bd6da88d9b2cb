"""EMOCA's emotion protocol: what a small MLP reads from the frozen predictor (docs/evaluation/emotions.md)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from sheap.evaluation.measures.base import (
    Column,
    Figures,
    Inputs,
    Measure,
    MeasureSettings,
    MissingInput,
    Row,
    Table,
    by_method,
    unreadable_notes,
    with_others,
    words,
)

LOG_EVERY = 2000
AGREEMENTS = {"pcc": "PCC", "ccc": "CCC", "rmse": "RMSE", "sagr": "SAGR"}

log = logging.getLogger(__name__)


class EmotionSettings(MeasureSettings):
    """Which pictures."""

    emotions_dir: Path | None = Field(json_schema_extra={"option": "--dataset"})
    """A folder in AffectNet's layout (sheap.evaluation.affectnet); null leaves the emotions out."""


class EmotionMeasure(Measure[EmotionSettings]):
    name: ClassVar[str] = "emotions"
    summary: ClassVar[str] = "What a small MLP reads from expression and jaw: valence, arousal and the emotion."
    settings = EmotionSettings

    def is_wanted(self, settings: EmotionSettings) -> bool:
        return settings.emotions_dir is not None

    def check(self, settings: EmotionSettings) -> None:
        if settings.emotions_dir is not None and not settings.emotions_dir.is_dir():
            raise MissingInput(f"{settings.emotions_dir}: missing", "set evaluate.emotions_dir to null")

    def figures(self, settings: EmotionSettings, inputs: Inputs) -> dict[str, Any]:
        """Trains the probe on the training split's predictions and measures it on the validation split's."""
        from sheap.evaluation.affectnet import read_affectnet
        from sheap.evaluation.emotion_probe import ProbeConfig, measure_probe, predict_features, train_probe
        from sheap.evaluation.predictions import CropCounts

        root = settings.emotions_dir
        assert root is not None, "is_wanted"
        # Both are read first: a broken table is told before hours of predictions.
        held_out_pictures, train_pictures = read_affectnet(root, "val"), read_affectnet(root, "train")
        seen, train_seen = CropCounts(), CropCounts()
        predict = {"batch_size": inputs.batch_size, "progress": _log_progress}
        held_out, without_face = predict_features(held_out_pictures, inputs.predictors, inputs.finder, counts=seen, **predict)
        train, train_without = predict_features(train_pictures, inputs.predictors, inputs.finder, counts=train_seen, **predict)
        figures = {
            name: measure_probe(train_probe(train[name], ProbeConfig()), held_out[name]) for name in inputs.predictors
        }
        counts = {
            "train_pictures": len(next(iter(train.values())).features),
            "train_without_face": len(train_without),
            "train_unreadable": len(train_seen.unreadable),
            "unreadable": {picture.path.name: reason for picture, reason in seen.unreadable.items()},
        }
        return {self.name: {"folder": str(root), **with_others(figures), **counts, "without_face": without_face}}

    def tables(self, metrics: Figures) -> list[Table]:
        if self.name not in metrics:
            return []
        section = metrics[self.name]
        methods = by_method(section)
        rows = []
        for method, figures in methods.items():
            for name in ("valence", "arousal"):
                label = f"{words(method)}: {name}" if len(methods) > 1 else name
                rows.append(Row((label, *(f"{figures[name][key]:.3f}" for key in AGREEMENTS))))
        notes = tuple(
            f"The emotion is right in {100 * figures['emotion_accuracy']:.1f} % ({words(method)})."
            for method, figures in methods.items()
        )
        notes += tuple(unreadable_notes(section.get("unreadable", {})))
        if section.get("train_unreadable"):
            notes += (f"{section['train_unreadable']} pictures of the training split cannot be read.",)
        text = (
            "A small network reads valence, arousal and the emotion from the predicted expression and jaw, on "
            f"{section['pictures']} held-out pictures of {section['folder']}."
        )
        columns = (Column(""), *(Column(title) for title in AGREEMENTS.values()))
        return [Table("Emotions", text, columns, tuple(rows), notes)]


def _log_progress(done: int, total: int) -> None:
    if done % LOG_EVERY == 0:
        log.info("emotions: %d of %d pictures", done, total)
