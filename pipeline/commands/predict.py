"""`sheap predict`: pictures to meshes, and benchmarks to submission folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.commands.options import AnswerHead, HeadFile, LandmarkFile, Model

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.

app = typer.Typer(no_args_is_help=True, help="Predict heads.")


@app.command("images")
def predict_images(
    images: Annotated[list[Path], typer.Argument(help="Pictures, each with a face.")],
    model: Model = None,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    head: AnswerHead = None,
    out: Annotated[Path, typer.Option(help="Where STEM.obj, STEM.json and STEM_overlay.png go.")] = Path(
        "outputs/predictions"
    ),
) -> None:
    """Find the face in each picture; write its mesh (metres), its parameters and an overlay to look at."""
    from pipeline.files.trained_model import load_trained, with_arkit
    from pipeline.predict_files import predict_picture

    predictor = with_arkit(load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head))
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in images:
        try:
            predict_picture(predictor, path, out / path.stem)
        except (ValueError, OSError) as error:
            failed += 1
            print(f"sheap: {error}", file=sys.stderr)
        else:
            print(f"{path} -> {out / path.stem}.obj")
    if failed:
        raise typer.Exit(2)


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
    """Write a NoW submission folder (neutral meshes in millimetres and seven landmarks) and check it."""
    from pipeline.files.trained_model import load_trained
    from sheap.evaluation.head_meshes import neutral
    from sheap.evaluation.now.dataset import NowDataset
    from sheap.evaluation.now.submission import SubmissionFolder, check_submission
    from sheap.evaluation.predictions import predict_pictures

    opened = NowDataset.open(dataset, image_set)
    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head)
    counts, predictions = predict_pictures(opened, {"model": predictor}, predictor.face_finder)
    SubmissionFolder(out).write(neutral(predictions["model"]), predictions["model"].rows)
    check = check_submission(out, opened)
    for image, problems in check.problems.items():
        print(f"{image}: {'; '.join(problems)}", file=sys.stderr)
    print(f"{out}: {check.num_images - len(check.problems)} of {check.num_images} predictions are sound ({counts})")
    if not check.is_good:
        raise typer.Exit(2)


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
    from sheap.evaluation.expression_dataset import ExpressionDataset
    from sheap.evaluation.head_meshes import expressive
    from sheap.evaluation.now.submission import SubmissionFolder
    from sheap.evaluation.predictions import predict_pictures

    opened = ExpressionDataset.open(dataset)
    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model, head=head)
    counts, predictions = predict_pictures(opened, {"model": predictor}, predictor.face_finder)
    SubmissionFolder(out).write(expressive(predictions["model"]), predictions["model"].rows)
    print(f"{out}: {len(counts.predicted)} of {len(opened.images)} predicted ({counts})")
    if counts.without_face:
        raise typer.Exit(2)
