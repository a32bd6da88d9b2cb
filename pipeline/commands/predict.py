"""`sheap predict`: pictures to meshes, and benchmarks to submission folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import DEFAULT_MODEL, HeadFile, LandmarkFile, Model

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.

app = typer.Typer(no_args_is_help=True, help="Predict heads.")


@app.command("images")
def predict_images(
    images: Annotated[list[Path], typer.Argument(help="Pictures, each with a face.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path, typer.Option(help="Where STEM.obj, STEM.json and STEM_overlay.png go.")] = Path(
        "outputs/predictions"
    ),
) -> None:
    """Find the face in each picture; write its mesh (metres), its parameters and an overlay to look at."""
    from pipeline.predict_files import predict_picture
    from sheap.predictor import SheapPredictor

    predictor = SheapPredictor.load(model, head_model=head_model, landmark_model=landmark_model)
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
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path, typer.Option(help="The submission folder to write.")] = Path("outputs/now/predicted_meshes"),
    image_set: Annotated[str, typer.Option(help="'val' or 'test': which of NoW's image lists.")] = "val",
) -> None:
    """Write a NoW submission folder (neutral meshes in millimetres and seven landmarks) and check it."""
    from sheap.evaluation.now_dataset import NowDataset
    from sheap.evaluation.now_prediction import predict_now_folder
    from sheap.evaluation.now_submission import check_submission
    from sheap.predictor import SheapPredictor
    from sheap.video.face_landmarker import FaceLandmarker

    opened = NowDataset.open(dataset, image_set)
    predictor = SheapPredictor.load(model, head_model=head_model)
    summary = predict_now_folder(opened, predictor, out, face_finder=FaceLandmarker(landmark_model))
    check = check_submission(out, opened)
    for image, problems in check.problems.items():
        print(f"{image}: {'; '.join(problems)}", file=sys.stderr)
    print(f"{out}: {check.num_images - len(check.problems)} of {check.num_images} predictions are sound ({summary})")
    if not check.is_good:
        raise typer.Exit(2)


@app.command("expressions")
def predict_expressions(
    dataset: Annotated[Path, typer.Option(help="A folder in the layout of docs/evaluation/expressions.md.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path, typer.Option(help="The submission folder to write.")] = Path("outputs/expressions"),
) -> None:
    """Write meshes (millimetres) with their expression, and seven landmarks each, for an expression benchmark."""
    from sheap.evaluation.expression_dataset import ExpressionDataset
    from sheap.evaluation.now_prediction import expressive_meshes, folder_writer, predict_images
    from sheap.predictor import SheapPredictor
    from sheap.video.face_landmarker import FaceLandmarker

    predictor = SheapPredictor.load(model, head_model=head_model)
    finder = FaceLandmarker(landmark_model)
    opened = ExpressionDataset.open(dataset)
    summary = predict_images(opened, predictor, [(expressive_meshes, folder_writer(out))], face_finder=finder)
    print(f"{out}: {len(summary.predicted)} of {len(opened.images)} predicted ({summary})")
    if summary.without_face:
        raise typer.Exit(2)
