"""Many pictures and videos to one folder of results: a folder each, kept as each is done, and a manifest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sheap
from pipeline.predict_run import Tell
from sheap.evaluation.pictures import read_picture
from sheap.prediction.camera import camera_number, record_camera
from sheap.prediction.chosen_faces import EVERYBODY, FaceChoice
from sheap.prediction.outputs import DEFAULT_KINDS, Source, write_outputs
from sheap.prediction.predict import Progress, on_cpu, predict_picture, predict_video
from sheap.prediction.rows import Prediction
from sheap.predictor import SheapPredictor
from sheap.reading.regular_file import read_start
from sheap.results.inputs import named_files
from sheap.results.names import printable, result_names
from sheap.results.run_manifest import ModelOfRun, RunRecord, file_sha256, input_name
from sheap.video.decoding import VideoProblem
from sheap.video.file_kinds import is_picture
from sheap.video.file_names import PICTURE_SUFFIXES, VIDEO_SUFFIXES

SAVED_EVERY_S = 10.0
"""A killed run loses the record of pictures for so long at most; a video's is written at once."""


@dataclass(frozen=True)
class BatchOptions:
    """What is asked of every input. write: kinds of sheap.prediction.outputs. fps: frames taken a second, None: all."""

    write: tuple[str, ...] = DEFAULT_KINDS
    face: FaceChoice = EVERYBODY
    smooth: bool = True
    fps: float | None = None

    def told(self) -> dict[str, Any]:
        """For the manifest: results that were made with others are made again."""
        face: Any = asdict(self.face)
        face["box"] = None if self.face.box is None else list(self.face.box)
        told = {"write": list(self.write), "face": face, "smooth": self.smooth, "fps": self.fps}
        return told | {"version": sheap.__version__}


def predict_batch(
    predictor: SheapPredictor,
    model: ModelOfRun,
    places: Iterable[Path],
    out: Path,
    options: BatchOptions,
    *,
    camera_seconds: float = 10.0,
    progress: Callable[[str], AbstractContextManager[Progress]],
    say: Tell,
    complain: Tell,
) -> dict[str, int]:
    """Predicts every picture and video that `places` stand for (sheap.results.inputs); one that cannot be ends no others.

    What an earlier run into `out` made in the same way of the same content is not made again. camera_seconds: for how long a
    camera (`camera:0`) is recorded. progress: opened with a video's name. Returns the manifest's counts. Raises ValueError for a
    broken manifest in `out`, NotWritten when it cannot be written.
    """
    places, dead_cameras = recorded(places, out, camera_seconds, say)
    before = RunRecord(out, "predict", model)
    named = named_files(places, PICTURE_SUFFIXES | VIDEO_SUFFIXES, "pictures or videos", leave_out=before.was_made)
    record = RunRecord(out, "predict", model, frozenset(os.path.realpath(path) for path in named.files))
    for place, problem in {**named.problems, **dead_cameras}.items():
        record.fail(place, problem)
        complain(problem)
    names = result_names(named.files, [""], record.is_folder_taken)
    record.plan({input_name(path): [f"{name}/"] for path, name in zip(named.files, names, strict=True)})
    told, saved = options.told(), time.monotonic()
    try:
        for path, name in zip(named.files, names, strict=True):
            try:
                start, sha256 = read_start(path), file_sha256(path)  # in this order: a pipe's end never comes
                kept = record.kept(input_name(path), sha256, told)
                if kept is not None:
                    say(f"{printable(path)} -> {printable(out / name)}: made before, kept")
                    continue
                found, source = _predicted(predictor, path, start, options, progress)
                files = write_outputs(out / name, options.write, on_cpu(predictor.head), predictor.arkit, found, source)
            except (ValueError, OSError, VideoProblem) as error:
                shown, text = printable(path), printable(" ".join(str(error).split()))
                problem = text if shown in text else f"{shown}: {text}"
                record.fail(input_name(path), problem)
                complain(problem)
            else:
                figures = {**found.figures(), "options": told}
                record.made(input_name(path), sha256, figures, [f"{name}/{file}" for file in files])
                say(f"{printable(path)} -> {printable(out / name)}: {found}")
                if found.kind == "video" or time.monotonic() - saved > SAVED_EVERY_S:
                    record.save()
                    saved = time.monotonic()
    except BaseException:
        record.save()
        raise
    return record.finish()


def recorded(places: Iterable[Path], out: Path, seconds: float, say: Tell) -> tuple[list[Path], dict[str, str]]:
    """The places, each camera (`camera:0`) as a video that was just recorded into `out`; and what is wrong with the others."""
    found: list[Path] = []
    problems: dict[str, str] = {}
    for place in places:
        number = camera_number(place)
        if number is None or os.path.lexists(place):
            found.append(place)
            continue
        path = out / f"camera{number}_{datetime.now(UTC):%Y%m%d_%H%M%S_%f}.mp4"
        say(f"{place}: recording for {seconds:g} seconds; Ctrl-C ends it")
        try:
            say(f"{place}: {record_camera(number, path, seconds)} frames in {path}")
        except (ValueError, OSError) as error:
            problems[str(place)] = str(error)
        else:
            found.append(path)
    return found, problems


def _predicted(
    predictor: SheapPredictor,
    path: Path,
    start: bytes,
    options: BatchOptions,
    progress: Callable[[str], AbstractContextManager[Progress]],
) -> tuple[Prediction, Source]:
    """By what the file holds, whatever it is called."""
    if is_picture(start, path.suffix):
        picture = read_picture(path)
        return predict_picture(predictor, picture, options.face), Source(path, picture)
    with progress(printable(path.name)) as show:
        found = predict_video(predictor, path, face=options.face, smooth=options.smooth, fps=options.fps, progress=show)
    return found, Source(path, fps=options.fps)
