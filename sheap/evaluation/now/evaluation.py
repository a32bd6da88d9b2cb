"""NoW for all pictures of a benchmark: worker processes, one subject at a time, and the result files."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path

from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.metric import Unit
from sheap.evaluation.now.plot import plot_cumulative_curves
from sheap.evaluation.now.results import (
    CURVE_MM,
    NowEvaluation,
    in_list_order,
    write_official_files,
)
from sheap.evaluation.now.subject import (
    SubjectOutcome,
    SubjectTask,
    evaluate_in_worker,
    evaluate_subject,
    start_worker,
)
from sheap.evaluation.now.submission import MeshSource, SubmissionFolder
from sheap.files import write_json

Progress = Callable[[int, int], None]

POLL_S = 0.5


def evaluate_methods(
    dataset: NowDataset,
    methods: Mapping[str, MeshSource],
    *,
    metrical_unit: Unit | None = None,
    image_timeout_s: float | None = None,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, NowEvaluation]:
    """The NoW error of several methods by name: for each, every image of the list that has a prediction.

    Images without one, or with a malformed one, are listed and counted, not guessed. Meshes are made for a few subjects at
    a time, so that memory does not grow with the benchmark. image_timeout_s: an image that takes longer is malformed, and the
    rest goes on. `progress(images done, total)` is called as images are done. Raises OSError or ValueError naming a broken scan.
    """
    # Long tasks first, so that no worker is left alone with one at the end.
    subjects = sorted(dataset.subjects, key=lambda subject: -len(dataset.of_subject(subject)))
    pairs = [(name, subject) for subject in subjects for name in methods]
    tasks = (
        SubjectTask(dataset, subject, methods[name].of_images(dataset.of_subject(subject)), metrical_unit, image_timeout_s)
        for name, subject in pairs
    )
    outcomes: dict[str, list[SubjectOutcome]] = {name: [] for name in methods}
    total = len(dataset.images) * len(methods)

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, total)

    for (name, _), outcome in zip(pairs, _outcomes(tasks, min(num_workers, len(pairs)), tell), strict=True):
        outcomes[name].append(outcome)
    return {name: _together(found, dataset) for name, found in outcomes.items()}


def evaluate_now_folder(
    dataset: Path | NowDataset,
    predictions: Path,
    output: Path | None = None,
    *,
    challenge: str | None = None,
    metrical_unit: Unit | None = None,
    method: str = "RECON",
    image_timeout_s: float | None = None,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> NowEvaluation:
    """Evaluates a submission folder and writes the results to `output` (PREDICTIONS/results, as the official tool).

    Written are the official distance file with its .meanmedian, METHOD.json (per challenge, subject and image, and what
    is missing), METHOD_cumulative.json and METHOD_cumulative.png; a challenge's or the metrical variant's name is added
    as the official tool adds it. Raises ValueError when not one image could be evaluated.
    """
    opened = (NowDataset.open(dataset) if isinstance(dataset, Path) else dataset).of_challenge(challenge)
    if not predictions.is_dir():
        raise FileNotFoundError(f"{predictions}: no such folder; expected predictions in NoW's submission format")
    evaluation = evaluate_methods(
        opened,
        {method: SubmissionFolder(predictions)},
        metrical_unit=metrical_unit,
        image_timeout_s=image_timeout_s,
        num_workers=num_workers,
        progress=progress,
    )[method]
    if not evaluation.evaluated:
        first = next(iter({**evaluation.missing, **evaluation.malformed}.values()))
        raise ValueError(f"{predictions}: no usable prediction for any of {len(opened.images)} images (first: {first})")
    folder = predictions / "results" if output is None else output
    folder.mkdir(parents=True, exist_ok=True)
    method = method if metrical_unit is None else f"{method}_metrical"
    write_official_files(folder, evaluation, method, challenge)
    name = method if challenge is None else f"{method}_{challenge}"
    curves = evaluation.cumulative_curves()
    write_json(folder / f"{name}.json", evaluation.to_json())
    write_json(folder / f"{name}_cumulative.json", {"error_mm": CURVE_MM.tolist(), "percent": curves})
    plot_cumulative_curves(folder / f"{name}_cumulative.png", curves)
    return evaluation


def _outcomes(tasks: Iterable[SubjectTask], num_workers: int, tell: Callable[[int], None]) -> Iterator[SubjectOutcome]:
    """The tasks' outcomes in their order; of the tasks, which hold meshes, two a worker are made ahead.

    `tell(images done)` is called after every image or, with workers, every POLL_S seconds in which there were some.
    """
    if num_workers <= 1:
        counter = itertools.count(1)
        for task in tasks:
            yield evaluate_subject(task, lambda: tell(next(counter)))
        return
    # Spawned, not forked: the caller may hold threads (torch, the landmark model), which a fork would break.
    context = multiprocessing.get_context("spawn")
    images_done = context.Value("q", 0)

    def wait_for(future: Future[SubjectOutcome]) -> SubjectOutcome:
        told = -1
        while True:
            is_done = bool(wait([future], POLL_S).done)
            if images_done.value != told:
                told = images_done.value
                tell(told)
            if is_done:
                return future.result()

    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=start_worker, initargs=(images_done,)) as pool:
        running: deque[Future[SubjectOutcome]] = deque()
        for task in tasks:
            running.append(pool.submit(evaluate_in_worker, task))
            if len(running) == 2 * num_workers:
                yield wait_for(running.popleft())
        while running:
            yield wait_for(running.popleft())


def _together(outcomes: list[SubjectOutcome], dataset: NowDataset) -> NowEvaluation:
    missing: dict[str, str] = {}
    malformed: dict[str, str] = {}
    for outcome in outcomes:
        missing.update(outcome.missing)
        malformed.update(outcome.malformed)
    evaluated = (item for outcome in outcomes for item in outcome.evaluated)
    return NowEvaluation(in_list_order(evaluated, dataset.images), missing, malformed)
