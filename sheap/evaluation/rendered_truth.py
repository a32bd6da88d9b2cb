"""The true identities of the rendered benchmark (its `benchmark.json`), and the true vertex errors against them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.evaluation.now.dataset import CHALLENGES, NowImage
from sheap.evaluation.predictions import neutral_meshes
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import read_prediction
from sheap.evaluation.true_error import true_vertex_errors
from sheap.head import HeadModel

TRUTH_NAME = "benchmark.json"
REGION = "face"


def read_true_shapes(root: Path) -> dict[str, NDArray[np.float32]] | None:
    """Identity coefficients [S] of the open head by subject; None for a benchmark that has none (real people).

    Raises ValueError naming the file when it is broken.
    """
    path = root / TRUTH_NAME
    if not path.is_file():
        return None
    try:
        subjects = json.loads(path.read_text(encoding="utf-8"))["subjects"]
        return {subject["name"]: np.asarray(subject["shape"], dtype=np.float32) for subject in subjects}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a rendered benchmark's record ({type(error).__name__}: {error})") from None


def true_errors(
    head: HeadModel, shapes: dict[str, NDArray[np.float32]], predictions: Path, images: Sequence[NowImage]
) -> dict[str, Any]:
    """Statistics of the true vertex errors (mm) on the face, 'overall' and by challenge.

    The predictions must have the head's own topology. Raises ValueError for a subject without truth.
    """
    absent = sorted({image.subject for image in images} - set(shapes))
    if absent:
        raise ValueError(f"{TRUTH_NAME}: no truth for subject '{absent[0]}'")
    region = head.region_masks[REGION].cpu().numpy()
    errors: dict[str, list[NDArray[np.float64]]] = {}
    for image in images:
        truth = neutral_meshes(head, torch.from_numpy(shapes[image.subject])[None])[0][0]
        predicted = read_prediction(predictions, image).mesh
        found = true_vertex_errors(predicted.vertices, truth.vertices, region)
        errors.setdefault("overall", []).append(found)
        errors.setdefault(image.challenge, []).append(found)
    statistics = {name: DistanceStatistics.of(errors[name]) for name in ("overall", *CHALLENGES) if name in errors}
    return {name: asdict(value) for name, value in statistics.items() if value is not None}
