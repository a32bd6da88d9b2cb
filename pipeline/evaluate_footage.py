"""Real footage's part of the evaluate stage: steadiness, and agreement with detected landmarks. No ground truth."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pipeline.corpus import find_carphone
from sheap.evaluation.footage import footage_files, measure_footage
from sheap.evaluation.predictions import Predictor
from sheap.video.face_landmarker import FaceLandmarker

log = logging.getLogger("evaluate")


def evaluate_on_footage(
    folder: Path | None, with_carphone: bool, predictor: Predictor, landmarker: FaceLandmarker, max_frames: int
) -> dict[str, Any]:
    """Figures by file. Raises OSError or ValueError for a missing or empty folder, StageError without the clip."""
    paths = [find_carphone()] if with_carphone else []
    if folder is not None:
        paths += footage_files(folder)
    figures = measure_footage(paths, predictor, landmarker, max_frames=max_frames)
    for name, reason in figures["unusable"].items():
        log.info("footage: %s is left out: %s", name, reason)
    log.info("footage: %s", {name: round(value, 4) for name, value in figures["videos"]["mean"].items()})
    return figures
