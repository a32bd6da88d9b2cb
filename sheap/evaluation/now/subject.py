"""NoW for one subject: the unit of work of a worker process (no torch, no plots: quick to import)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from sheap.evaluation.now.dataset import NowDataset, NowScan
from sheap.evaluation.now.metric import NowResult, NowWarning, Unit, check_scan, evaluate_pair
from sheap.evaluation.now.refinement import compile_kernels
from sheap.evaluation.now.results import ImageDistances
from sheap.evaluation.now.submission import MeshesOfImages, MissingPrediction, NowPrediction
from sheap.evaluation.time_limit import TimeLimit


@dataclass(frozen=True)
class SubjectTask:
    """Evaluate a method's predictions for one subject of a benchmark."""

    dataset: NowDataset
    subject: str
    predictions: MeshesOfImages
    metrical_unit: Unit | None = None
    image_timeout_s: float | None = None
    """An image that takes longer is malformed; None: no limit."""


@dataclass(frozen=True)
class SubjectOutcome:
    """Evaluated images, and those that could not be: image -> why."""

    evaluated: tuple[ImageDistances, ...]
    missing: dict[str, str]
    malformed: dict[str, str]

    @property
    def num_images(self) -> int:
        return len(self.evaluated) + len(self.missing) + len(self.malformed)


def evaluate_subject(task: SubjectTask, on_image: Callable[[], None] = lambda: None) -> SubjectOutcome:
    """Every image of the subject. A prediction that several of them share (a mean head) is evaluated once.

    `on_image` is called after every image.

    Raises OSError or ValueError naming the file when the scan is missing or unusable.
    """
    scan = task.dataset.scan(task.subject)
    try:
        check_scan(scan.mesh.vertices, scan.mesh.faces, scan.landmarks)
    except ValueError as error:
        raise ValueError(f"{task.dataset.root / 'scans' / task.subject}: {error}") from None
    evaluated: list[ImageDistances] = []
    missing: dict[str, str] = {}
    malformed: dict[str, str] = {}
    known: dict[Hashable, NowResult] = {}
    if task.image_timeout_s is not None:
        compile_kernels()
    for image in task.dataset.of_subject(task.subject):
        try:
            key = task.predictions.key(image)
            if key not in known:
                limit = TimeLimit(task.image_timeout_s)
                known[key] = evaluate_prediction(scan, task.predictions.read(image), task.metrical_unit, limit)
        except MissingPrediction as error:
            missing[str(image)] = str(error)
        except ValueError as error:
            malformed[str(image)] = str(error)
        else:
            evaluated.append(ImageDistances(image, known[key].distances, known[key].warnings))
        on_image()
    return SubjectOutcome(tuple(evaluated), missing, malformed)


_images_done: Any = None
"""In a worker process: the shared counter of images."""


def start_worker(images_done: Any) -> None:
    """Keeps the counter (a multiprocessing.Value) that the worker's tasks add to."""
    global _images_done
    _images_done = images_done


def evaluate_in_worker(task: SubjectTask) -> SubjectOutcome:
    """evaluate_subject, each image counted for those who wait."""

    def count() -> None:
        with _images_done.get_lock():
            _images_done.value += 1

    return evaluate_subject(task, count)


def evaluate_prediction(
    scan: NowScan, prediction: NowPrediction, metrical_unit: Unit | None = None, time_limit: TimeLimit | None = None
) -> NowResult:
    """One prediction against one scan; what looks wrong is in the result's warnings only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NowWarning)
        return evaluate_pair(
            *(scan.mesh.vertices, scan.mesh.faces, scan.landmarks),
            *(prediction.mesh.vertices, prediction.mesh.faces, prediction.landmarks),
            metrical_unit=metrical_unit,
            time_limit=time_limit,
        )
