"""`sheap evaluate`: what each measure says of a model or of a folder of predictions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from pipeline.commands.options import DEFAULT_MODEL, HeadFile, LandmarkFile, Model

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.

app = typer.Typer(no_args_is_help=True, help="Measure predictions.")


@app.command("now")
def evaluate_now(
    dataset: Annotated[Path, typer.Option(help="A folder in NoW's layout.")],
    predictions: Annotated[Path, typer.Option(help="A folder in NoW's submission format.")],
    challenge: Annotated[str | None, typer.Option(help="One of NoW's challenges instead of all.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    metrical_unit: Annotated[str | None, typer.Option(help="'m', 'cm' or 'mm': evaluate the metrical variant.")] = None,
    out: Annotated[Path | None, typer.Option(help="Result folder (PREDICTIONS/results).")] = None,
) -> None:
    """The NoW error of a submission, as the official tool measures it; writes its result files too."""
    from sheap.evaluation.now_folder import evaluate_now_folder

    evaluation = evaluate_now_folder(
        dataset, predictions, out, challenge=challenge, metrical_unit=metrical_unit, num_workers=workers
    )
    table = Table("challenge", "median mm", "mean mm", "std mm")
    for name, figures in evaluation.statistics().items():
        table.add_row(name, *(f"{value:.3f}" for value in (figures.median_mm, figures.mean_mm, figures.std_mm)))
    Console().print(table)
    for item in evaluation.evaluated:
        for remark in item.warnings:
            print(f"warning: {item.image}: {remark}", file=sys.stderr)
    for image, reason in {**evaluation.missing, **evaluation.malformed}.items():
        print(f"not evaluated: {image}: {reason}", file=sys.stderr)


@app.command("expressions")
def evaluate_expressions(
    dataset: Annotated[Path, typer.Option(help="A folder in the layout of docs/evaluation/expressions.md.")],
    predictions: Annotated[Path, typer.Option(help="A folder as `sheap predict expressions` writes it.")],
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Errors of faces with an expression, by region."""
    from sheap.evaluation.expression_dataset import ExpressionDataset
    from sheap.evaluation.expression_error import evaluate_expressions as evaluate

    opened = ExpressionDataset.open(dataset)
    figures, without = evaluate(opened, predictions)
    missing = [str(image) for image in without]
    table = Table("region", "median mm", "mean mm", "std mm")
    for name, values in figures.items():
        table.add_row(name, *(f"{values[field]:.3f}" for field in ("median_mm", "mean_mm", "std_mm")))
    Console().print(table)
    for image in missing:
        print(f"not evaluated: {image}: no prediction", file=sys.stderr)
    if out is not None:
        out.write_text(json.dumps(figures | {"missing": missing}, indent=1) + "\n", encoding="utf-8")


@app.command("footage")
def evaluate_footage(
    files: Annotated[list[Path], typer.Argument(help="Videos and pictures of real people, or folders of them.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    frames: Annotated[int, typer.Option(min=8, help="At most so many frames of each video.")] = 150,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Steadiness, and agreement with detected landmarks, on real footage; there is no ground truth in it."""
    from sheap.evaluation.footage import footage_files, measure_footage
    from sheap.predictor import SheapPredictor
    from sheap.video.face_landmarker import FaceLandmarker

    paths = [path for file in files for path in (footage_files(file) if file.is_dir() else [file])]
    predictor = SheapPredictor.load(model, head_model=head_model)
    figures = measure_footage(paths, predictor, FaceLandmarker(landmark_model), max_frames=frames)
    columns = {
        "frames": "frames",
        "reprojection": "off",
        "landmark_jitter": "jitter",
        "detected_jitter": "detected",
        "expression_jitter_mm": "face mm",
        "identity_spread_mm": "identity mm",
    }
    table = Table(Column("file", no_wrap=True), *columns.values())
    for kind in ("videos", "pictures"):
        for name, values in figures[kind]["files"].items():
            table.add_row(name, *(f"{values[column]:.3g}" if column in values else "" for column in columns))
    Console().print(table)
    for name, reason in figures["unusable"].items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


@app.command("emotions")
def evaluate_emotions(
    dataset: Annotated[Path, typer.Option(help="A folder in AffectNet's layout.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """What a small MLP reads from the frozen predictor's expression and jaw: valence, arousal and the emotion."""
    from pipeline.evaluate_emotions import evaluate_on_emotions
    from sheap.predictor import SheapPredictor
    from sheap.video.face_landmarker import FaceLandmarker

    predictor = SheapPredictor.load(model, head_model=head_model)
    figures = evaluate_on_emotions(dataset, predictor, FaceLandmarker(landmark_model), batch_size=16)
    table = Table("", "PCC", "CCC", "RMSE", "SAGR")
    for name in ("valence", "arousal"):
        table.add_row(name, *(f"{figures[name][field]:.3f}" for field in ("pcc", "ccc", "rmse", "sagr")))
    Console().print(table)
    print(f"emotion accuracy {figures['emotion_accuracy']:.3f} on {figures['pictures']} pictures")
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
