"""NoW for all pictures of a benchmark: worker processes, one subject at a time, and the result files."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
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
from sheap.evaluation.now.subject import SubjectOutcome, SubjectTask, evaluate_subject
from sheap.evaluation.now.submission import MeshSource, SubmissionFolder
from sheap.files import write_json

Progress = Callable[[int, int], None]


def evaluate_methods(
    dataset: NowDataset,
    methods: Mapping[str, MeshSource],
    *,
    metrical_unit: Unit | None = None,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, NowEvaluation]:
    """The NoW error of several methods by name: for each, every image of the list that has a prediction.

    Images without one, or with a malformed one, are listed and counted, not guessed. Meshes are made for a few subjects at
    a time, so that memory does not grow with the benchmark. `progress(images done, total)` is called after every subject.
    Raises OSError or ValueError naming a broken scan.
    """
    # Long tasks first, so that no worker is left alone with one at the end.
    subjects = sorted(dataset.subjects, key=lambda subject: -len(dataset.of_subject(subject)))
    pairs = [(name, subject) for subject in subjects for name in methods]
    tasks = (
        SubjectTask(dataset, subject, methods[name].of_images(dataset.of_subject(subject)), metrical_unit)
        for name, subject in pairs
    )
    outcomes: dict[str, list[SubjectOutcome]] = {name: [] for name in methods}
    done, total = 0, len(dataset.images) * len(methods)
    for (name, _), outcome in zip(pairs, _outcomes(tasks, min(num_workers, len(pairs))), strict=True):
        outcomes[name].append(outcome)
        done += outcome.num_images
        if progress is not None:
            progress(done, total)
    return {name: _together(found, dataset) for name, found in outcomes.items()}


def evaluate_now_folder(
    dataset: Path | NowDataset,
    predictions: Path,
    output: Path | None = None,
    *,
    challenge: str | None = None,
    metrical_unit: Unit | None = None,
    method: str = "RECON",
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


def _outcomes(tasks: Iterable[SubjectTask], num_workers: int) -> Iterator[SubjectOutcome]:
    """The tasks' outcomes in their order; of the tasks, which hold meshes, two a worker are made ahead."""
    if num_workers <= 1:
        yield from map(evaluate_subject, tasks)
        return
    # Spawned, not forked: the caller may hold threads (torch, the landmark model), which a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        running: deque[Future[SubjectOutcome]] = deque()
        for task in tasks:
            running.append(pool.submit(evaluate_subject, task))
            if len(running) == 2 * num_workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _together(outcomes: list[SubjectOutcome], dataset: NowDataset) -> NowEvaluation:
    missing: dict[str, str] = {}
    malformed: dict[str, str] = {}
    for outcome in outcomes:
        missing.update(outcome.missing)
        malformed.update(outcome.malformed)
    evaluated = (item for outcome in outcomes for item in outcome.evaluated)
    return NowEvaluation(in_list_order(evaluated, dataset.images), missing, malformed)
