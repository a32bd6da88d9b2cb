"""`sheap predict`: pictures and videos to heads, and benchmarks to submission folders."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core

from pipeline.commands.exit_codes import DOUBTFUL, INCOMPLETE, MISTAKE
from pipeline.commands.options import AnswerHead, HeadFile, LandmarkFile, Model, progress_bar

if TYPE_CHECKING:
    from sheap.results.run_manifest import RunRecord
    from sheap.results.submission_state import SubmissionState

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.


class FilesByDefault(typer.core.TyperGroup):
    """`sheap predict photo.jpg` is `sheap predict files photo.jpg`. (A file called like a command is written ./now.)"""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["files", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FilesByDefault, no_args_is_help=True, help="Predict heads: sheap predict PICTURES, VIDEOS OR FOLDERS ... --out DIR"
)


@app.command("files")
def predict_files(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, videos, folders, patterns ('clips/*.mp4'), camera:0.")],
    out: Annotated[Path, typer.Option(help="Where each input gets a folder of its own.")] = Path("outputs/heads"),
    write: Annotated[
        str, typer.Option(help="What to write, with commas: params, cameras, obj, ply, glb, overlay, side-by-side.")
    ] = "params,cameras,obj,glb,overlay",
    face: Annotated[
        str, typer.Option(help="all; largest; a number (0: seen largest); or the x,y,width,height of a box, px.")
    ] = "all",
    smooth: Annotated[bool, typer.Option("--smooth/--no-smooth", help="Take the jitter out of videos.")] = True,
    fps: Annotated[float | None, typer.Option(min=0.1, help="Frames of a video taken a second, at most; else all.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long a camera is recorded.")] = 10.0,
    model: Model = None,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    head: AnswerHead = None,
) -> None:
    """Predict everybody in pictures and videos; the command that is meant where none is named (docs/predict.md).

    Each input gets a folder DIR/NAME; sheap_results.json says what was made of what, with which model, and how sure it is. A run
    that was cut off goes on where it was: what is made already is kept.
    Exit code 2: nothing could be predicted; 3: not everything; 4: some predictions are doubtful.
    """
    from pipeline.files.trained_model import load_trained, with_arkit
    from pipeline.predict_batch import BatchOptions, predict_batch
    from pipeline.predict_run import model_of_run
    from sheap.prediction.chosen_faces import FaceChoice
    from sheap.prediction.outputs import parse_kinds

    options = BatchOptions(parse_kinds(write), FaceChoice.parse(face), smooth, fps)
    predictor = with_arkit(load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head))
    _ = predictor.face_finder  # a broken landmark model is told here, once
    finish(
        out,
        predict_batch(
            predictor,
            model_of_run(model, predictor),
            inputs,
            out,
            options,
            camera_seconds=seconds,
            progress=partial(progress_bar, unit="frame"),
            say=print,
            complain=lambda problem: print(f"sheap: {problem}", file=sys.stderr),
        ),
    )


def finish(out: Path, counts: dict[str, int]) -> None:
    """Says what was made, and ends with its exit code."""
    print(f"{out}: {counts['results']} of {counts['inputs']} predicted, {counts.get('doubtful', 0)} of them doubtful")
    if counts["failed"]:
        raise typer.Exit(INCOMPLETE if counts["results"] else MISTAKE)
    if counts.get("doubtful"):
        raise typer.Exit(DOUBTFUL)


@app.command("images")
def predict_images(
    images: Annotated[list[Path], typer.Argument(help="Pictures with a face, folders of them, or patterns ('photos/*.jpg').")],
    model: Model = None,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    head: AnswerHead = None,
    out: Annotated[Path, typer.Option(help="Where STEM.obj, STEM.json and STEM_overlay.png go.")] = Path(
        "outputs/predictions"
    ),
    neutral: Annotated[bool, typer.Option("--neutral", help="Write STEM_neutral.obj, too: the person at rest, metres.")] = False,
    face_box: Annotated[
        str | None, typer.Option(help="Which face is meant, in a single picture: four numbers, with commas between.")
    ] = None,
    box_format: Annotated[
        Literal["ltrb", "xywh", "relative-ltrb", "relative-xywh"],
        typer.Option(help="How --face-box says it: sides, or left, top, width, height; px, or shares of the picture."),
    ] = "ltrb",
) -> None:
    """Find the face in each picture; write its mesh, its parameters and an overlay to look at.

    STEM.obj is the head as it was seen: posed, with its expression, in metres, in the camera's space (x right, y up, z towards
    the viewer; the camera is at z = 1). The neutral mesh comes with --neutral. Where names meet, STEM takes the ending or the
    folder, too; sheap_results.json says what was made of what, with which model, and how sure it is.
    Exit code 2: nothing could be predicted; 3: not everything; 4: some predictions are doubtful.
    """
    from pipeline.files.trained_model import load_trained, with_arkit
    from pipeline.predict_run import model_of_run, predict_pictures_to

    box = None if face_box is None else box_numbers(face_box)
    predictor = with_arkit(load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head))
    _ = predictor.face_finder  # a broken landmark model is told here, once
    counts = predict_pictures_to(
        predictor,
        model_of_run(model, predictor),
        images,
        out,
        neutral=neutral,
        face_box=box,
        box_format=box_format,
        say=print,
        complain=lambda problem: print(f"sheap: {problem}", file=sys.stderr),
    )
    finish(out, counts)


def box_numbers(text: str) -> list[float]:
    """The numbers of --face-box. Raises ValueError; how many they have to be is checked with the picture."""
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"--face-box: expected four numbers, got '{text}'") from None


@app.command("now")
def predict_now(
    dataset: Annotated[Path, typer.Option(help="A folder in NoW's layout.")],
    model: Model = None,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    head: AnswerHead = None,
    out: Annotated[Path, typer.Option(help="The submission folder to write.")] = Path("outputs/now/predicted_meshes"),
    image_set: Annotated[Literal["val", "test"], typer.Option(help="Which of NoW's image lists.")] = "val",
) -> None:
    """Write a NoW submission folder (neutral meshes in millimetres and seven landmarks) and check it.

    sheap_results.json says what was made of which picture. Exit code 2: a prediction is not sound, or there is none; 3: an
    image has none, or the folder holds others than this run's.
    """
    from pipeline.files.trained_model import load_trained
    from pipeline.predict_run import model_of_run, submission_record, write_submission
    from sheap.evaluation.head_meshes import neutral
    from sheap.evaluation.now.dataset import NowDataset
    from sheap.evaluation.now.submission import check_submission
    from sheap.evaluation.predictions import predict_pictures

    opened = NowDataset.open(dataset, image_set)
    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head)
    record = submission_record(out, "predict now", model_of_run(model, predictor), opened)
    with progress_bar("now") as progress:
        counts, predictions = predict_pictures(opened, {"model": predictor}, predictor.face_finder, progress=progress)
    for reason in counts.unreadable.values():
        print(f"not predicted: {reason}", file=sys.stderr)
    state = write_submission(record, opened, counts, predictions["model"], neutral)
    made = [image for image in opened.images if image in counts.predicted]
    check = check_submission(out, dataclasses.replace(opened, images=tuple(made)))
    for image, problems in check.problems.items():
        print(f"{image}: {'; '.join(problems)}", file=sys.stderr)
    sound = f"{check.num_images - len(check.problems)} of {len(opened.images)} predictions are sound"
    print(f"{out}: {sound}, {doubtful(record)} ({counts})")
    finish_submission(state, is_sound=check.is_good)


@app.command("expressions")
def predict_expressions(
    dataset: Annotated[Path, typer.Option(help="A folder in the layout of docs/evaluation/expressions.md.")],
    model: Model = None,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    head: AnswerHead = None,
    out: Annotated[Path, typer.Option(help="The submission folder to write.")] = Path("outputs/expressions"),
) -> None:
    """Write meshes (millimetres) with their expression, and seven landmarks each, for an expression benchmark."""
    from pipeline.files.trained_model import load_trained
    from pipeline.predict_run import model_of_run, submission_record, write_submission
    from sheap.evaluation.expression_dataset import ExpressionDataset
    from sheap.evaluation.head_meshes import expressive
    from sheap.evaluation.predictions import predict_pictures

    opened = ExpressionDataset.open(dataset)
    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head)
    record = submission_record(out, "predict expressions", model_of_run(model, predictor), opened)
    with progress_bar("expressions") as progress:
        counts, predictions = predict_pictures(opened, {"model": predictor}, predictor.face_finder, progress=progress)
    for reason in counts.unreadable.values():
        print(f"not predicted: {reason}", file=sys.stderr)
    state = write_submission(record, opened, counts, predictions["model"], expressive)
    print(f"{out}: {len(counts.predicted)} of {len(opened.images)} predicted, {doubtful(record)} ({counts})")
    finish_submission(state, is_sound=True)


def doubtful(record: RunRecord) -> str:
    """How many of a run's predictions may not be of that face."""
    return f"{record.counts().get('doubtful', 0)} doubtful"


def finish_submission(state: SubmissionState, *, is_sound: bool) -> None:
    """Says what of the folder is not this run's, and ends with its exit code."""
    for line in state.lines():
        print(line, file=sys.stderr)
    print(state)
    if not is_sound or len(state.missing) == state.expected:
        raise typer.Exit(MISTAKE)
    if not state.is_whole:
        raise typer.Exit(INCOMPLETE)
