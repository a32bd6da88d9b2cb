"""NoW for a whole submission folder: worker processes, one subject at a time, and the result files."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sheap.evaluation.now.metric import Unit
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.plot import plot_cumulative_curves
from sheap.evaluation.now.results import (
    CURVE_MM,
    NowEvaluation,
    cumulative_percent,
    in_list_order,
    write_official_files,
)
from sheap.evaluation.now.subject import SubjectOutcome, SubjectTask, evaluate_subject

Progress = Callable[[int, int], None]


def evaluate_submissions(
    dataset: NowDataset,
    predictions: Mapping[str, Path],
    *,
    metrical_unit: Unit | None = None,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, NowEvaluation]:
    """The NoW error of several submissions by name: for each, every image of the list that has a prediction.

    Images without one, or with a malformed one, are listed and counted, not guessed. `progress(images done, total)` is
    called after every subject. Raises OSError or ValueError naming a broken scan or a folder that does not exist.
    """
    for folder in predictions.values():
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; expected predictions in NoW's submission format")
    # Long tasks first, so that no worker is left alone with one at the end.
    subjects = sorted(dataset.subjects, key=lambda subject: -len(dataset.of_subject(subject)))
    tasks = [
        SubjectTask(name, dataset, folder, subject, metrical_unit)
        for subject in subjects
        for name, folder in predictions.items()
    ]
    outcomes: dict[str, list[SubjectOutcome]] = {name: [] for name in predictions}
    done, total = 0, len(dataset.images) * len(predictions)
    for task, outcome in _outcomes(tasks, num_workers):
        outcomes[task.submission].append(outcome)
        done += outcome.num_images
        if progress is not None:
            progress(done, total)
    return {name: _together(found, dataset) for name, found in outcomes.items()}


def evaluate_submission(
    dataset: NowDataset,
    predictions: Path,
    *,
    metrical_unit: Unit | None = None,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> NowEvaluation:
    """The NoW error of one submission; see evaluate_submissions."""
    found = evaluate_submissions(
        dataset, {"": predictions}, metrical_unit=metrical_unit, num_workers=num_workers, progress=progress
    )
    return found[""]


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
    evaluation = evaluate_submission(
        opened, predictions, metrical_unit=metrical_unit, num_workers=num_workers, progress=progress
    )
    if not evaluation.evaluated:
        first = next(iter({**evaluation.missing, **evaluation.malformed}.values()))
        raise ValueError(f"{predictions}: no usable prediction for any of {len(opened.images)} images (first: {first})")
    folder = predictions / "results" if output is None else output
    folder.mkdir(parents=True, exist_ok=True)
    method = method if metrical_unit is None else f"{method}_metrical"
    write_official_files(folder, evaluation, method, challenge)
    name = method if challenge is None else f"{method}_{challenge}"
    curves = cumulative_curves(evaluation)
    _write_json(folder / f"{name}.json", evaluation.to_json())
    _write_json(folder / f"{name}_cumulative.json", {"error_mm": CURVE_MM.tolist(), "percent": curves})
    plot_cumulative_curves(folder / f"{name}_cumulative.png", curves)
    return evaluation


def cumulative_curves(evaluation: NowEvaluation) -> dict[str, list[float]]:
    """Percent of vertices at or below every level of CURVE_MM, overall and per challenge."""
    return {
        name: cumulative_percent(evaluation.distances(None if name == "overall" else name)).round(4).tolist()
        for name in evaluation.statistics()
    }


def _outcomes(tasks: list[SubjectTask], num_workers: int) -> Iterator[tuple[SubjectTask, SubjectOutcome]]:
    if num_workers <= 1 or len(tasks) == 1:
        yield from ((task, evaluate_subject(task)) for task in tasks)
        return
    # Spawned, not forked: the caller may hold threads (torch, the landmark model), which a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(num_workers, len(tasks)), mp_context=context) as pool:
        yield from zip(tasks, pool.map(evaluate_subject, tasks), strict=True)


def _together(outcomes: list[SubjectOutcome], dataset: NowDataset) -> NowEvaluation:
    missing: dict[str, str] = {}
    malformed: dict[str, str] = {}
    for outcome in outcomes:
        missing.update(outcome.missing)
        malformed.update(outcome.malformed)
    evaluated = (item for outcome in outcomes for item in outcome.evaluated)
    return NowEvaluation(in_list_order(evaluated, dataset.images), missing, malformed)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
