"""The true identities of the rendered benchmark (its `benchmark.json`), and the true vertex errors against them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.evaluation.head_meshes import neutral_meshes
from sheap.evaluation.now.dataset import CHALLENGES, NowImage
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import MeshSource, measure_each
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


def is_open_head(head: HeadModel) -> bool:
    """Whether a head's identity coefficients are those of the open head, which the truth is of."""
    ours = _open_head()
    pairs = ((head.template, ours.template), (head.shape_basis, ours.shape_basis))
    return all(torch.equal(theirs.cpu(), own) for theirs, own in pairs)


@lru_cache(maxsize=1)
def _open_head() -> HeadModel:
    return HeadModel.load()


def true_errors(
    head: HeadModel,
    shapes: Mapping[str, NDArray[np.float32]],
    methods: Mapping[str, MeshSource],
    images: Sequence[NowImage],
) -> dict[str, dict[str, Any]]:
    """Statistics of the true vertex errors (mm) on the face by method, 'overall' and by challenge.

    The predictions must have the head's own topology. Raises ValueError for a subject without truth.
    """
    absent = sorted({image.subject for image in images} - set(shapes))
    if absent:
        raise ValueError(f"{TRUTH_NAME}: no truth for subject '{absent[0]}'")
    region = head.region_masks[REGION].cpu().numpy()
    errors: dict[str, dict[str, list[NDArray[np.float64]]]] = {name: {} for name in methods}
    for subject in dict.fromkeys(image.subject for image in images):
        truth = neutral_meshes(head, torch.from_numpy(shapes[subject])[None])[0][0]
        of_subject = [image for image in images if image.subject == subject]
        for name, source in methods.items():
            found = measure_each(
                source.of_images(of_subject), of_subject,
                lambda prediction, truth=truth: true_vertex_errors(prediction.mesh.vertices, truth.vertices, region),
            )  # fmt: skip
            for image, distances in zip(of_subject, found, strict=True):
                errors[name].setdefault("overall", []).append(distances)
                errors[name].setdefault(image.challenge, []).append(distances)
    return {name: _statistics(found) for name, found in errors.items()}


def _statistics(errors: Mapping[str, list[NDArray[np.float64]]]) -> dict[str, Any]:
    statistics = {name: DistanceStatistics.of(errors[name]) for name in ("overall", *CHALLENGES) if name in errors}
    return {name: asdict(value) for name, value in statistics.items() if value is not None}
