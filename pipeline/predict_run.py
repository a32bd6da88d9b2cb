"""Many pictures to one folder of results: each under a name of its own, and a manifest of what was made of what."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.files.head_files import head_of_run
from pipeline.predict_files import endings, predict_picture
from sheap.evaluation.now.submission import MeshSource, SubmissionFolder
from sheap.evaluation.pictures import read_picture
from sheap.evaluation.predictions import CropCounts, PictureSet, Predictions, verdict_of
from sheap.predictor import SheapPredictor
from sheap.results.inputs import named_files
from sheap.results.names import printable, result_names
from sheap.results.run_manifest import ModelOfRun, RunRecord, file_sha256, input_name
from sheap.results.submission_state import SubmissionState, submission_state
from sheap.video.file_names import PICTURE_SUFFIXES

Tell = Callable[[str], None]


def model_of_run(folder: Path | None, predictor: SheapPredictor) -> ModelOfRun:
    """The model for a manifest; folder None: the shipped one."""
    name = "the predictor shipped with this version" if folder is None else printable(os.path.abspath(folder))
    config = predictor.config
    return ModelOfRun(
        folder=name,
        weights_sha256=config.weights_sha256,
        settings_sha256=config.settings_sha256,
        head=head_of_run(predictor.head),
    )


def predict_pictures_to(
    predictor: SheapPredictor,
    model: ModelOfRun,
    places: Iterable[Path],
    out: Path,
    *,
    neutral: bool = False,
    face_box: Sequence[float] | None = None,
    box_format: str = "ltrb",
    say: Tell,
    complain: Tell,
) -> dict[str, int]:
    """Predicts every picture that `places` stand for (sheap.results.inputs); one that cannot be does not end the others.

    face_box, box_format: which face is meant, of a single picture. Returns the manifest's counts. Raises ValueError for a broken
    manifest in `out`, or a box for several pictures; NotWritten when nothing can be written there.
    """
    places = list(places)
    before = RunRecord(out, "predict images", model)
    named = named_files(places, PICTURE_SUFFIXES, "pictures", leave_out=before.was_made)
    if face_box is not None and len(named.files) > 1:
        raise ValueError(f"--face-box: one box is for one picture, but {len(named.files)} were named")
    inputs = frozenset(os.path.realpath(path) for path in named.files)
    record = RunRecord(out, "predict images", model, inputs)
    for place, problem in named.problems.items():
        record.fail(place, problem)
        complain(problem)
    all_endings = endings(neutral=neutral)
    names = result_names(named.files, all_endings, record.is_taken)
    files = ([name + ending for ending in all_endings] for name in names)
    record.plan(dict(zip(map(input_name, named.files), files, strict=True)))
    meant: dict[str, Any] = {} if face_box is None else {"face_box": face_box, "box_format": box_format}
    for path, name in zip(named.files, names, strict=True):
        try:
            picture, sha256 = read_picture(path), file_sha256(path)
            found = predict_picture(predictor, picture, out / name, neutral=neutral, **meant)
        except (ValueError, OSError) as error:
            shown, text = printable(path), printable(str(error))
            problem = text if shown in text else f"{shown}: {text}"
            record.fail(input_name(path), problem)
            complain(problem)
        else:
            record.made(input_name(path), sha256, found.verdict.to_json())
            say(f"{printable(path)} -> {printable(out / name)}.obj: {found.verdict}")
    return record.finish()


def submission_record(folder: Path, command: str, model: ModelOfRun, pictures: PictureSet) -> RunRecord:
    """The record of a benchmark's predictions, before the first is made. Raises as RunRecord and its require_free do."""
    record = RunRecord(folder, command, model)
    record.require_free(file for image in pictures.images for file in submission_files(image))
    return record


def submission_files(image: Any) -> list[str]:
    """Of one picture of a benchmark."""
    return [f"{image.stem}.obj", f"{image.stem}.npy"]


def write_submission(
    record: RunRecord,
    pictures: PictureSet,
    counts: CropCounts,
    predictions: Predictions,
    make: Callable[[Predictions], MeshSource],
) -> SubmissionState:
    """Writes a benchmark's predictions into the record's folder, with the manifest; says what of the folder is not this run's.

    make: the meshes of predictions (sheap.evaluation.head_meshes). Doubtful ones are counted in the manifest: hard pictures are
    what a benchmark is made of.
    """
    rows = predictions.rows
    for image in counts.without_face:
        record.fail(str(image), "no face found")
    record.plan({str(image): submission_files(image) for image in rows})
    SubmissionFolder(record.folder).write(make(predictions), rows)
    for image in rows:
        record.made(str(image), file_sha256(pictures.image_path(image)), verdict_of(predictions, counts, image))
    record.finish()
    return submission_state(record.folder, list(pictures.images), pictures.images, pictures.image_path)
