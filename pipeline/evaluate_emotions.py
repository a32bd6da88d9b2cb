"""The emotion protocol's part of the evaluate stage: what the frozen predictor's expression tells of emotions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sheap.evaluation.affectnet import read_affectnet
from sheap.evaluation.emotion_probe import ProbeConfig, measure_probe, predict_features, train_probe
from sheap.evaluation.predictions import FaceFinder, Predictor

LOG_EVERY = 2000

log = logging.getLogger("evaluate")


def evaluate_on_emotions(root: Path, predictor: Predictor, finder: FaceFinder, batch_size: int) -> dict[str, Any]:
    """Trains the probe on the training split's predictions and measures it on the validation split's.

    Raises OSError or ValueError as the dataset does.
    """
    pictures = {split: read_affectnet(root, split) for split in ("val", "train")}
    held_out, without_face = predict_features(pictures["val"], predictor, finder, batch_size, _log_progress)
    train, train_without = predict_features(pictures["train"], predictor, finder, batch_size, _log_progress)
    figures = measure_probe(train_probe(train, ProbeConfig()), held_out)
    log.info(
        "emotions: accuracy %.3f, CCC of valence %.3f and arousal %.3f, %d pictures",
        figures["emotion_accuracy"], figures["valence"]["ccc"], figures["arousal"]["ccc"], figures["pictures"],
    )  # fmt: skip
    counts = {"train_pictures": len(train.features), "train_without_face": len(train_without)}
    return {"folder": str(root), **figures, **counts, "without_face": without_face}


def _log_progress(done: int, total: int) -> None:
    if done % LOG_EVERY == 0:
        log.info("emotions: %d of %d pictures", done, total)
