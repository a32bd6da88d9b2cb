"""`sheap evaluate MEASURE`: one command for every registered measure; three of them take more than settings."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from rich.table import Table as Printed

from pipeline.commands.exit_codes import INCOMPLETE
from pipeline.commands.options import (
    IMAGE_TIMEOUT_S,
    HeadFile,
    ImageTimeout,
    LandmarkFile,
    Model,
    progress_bar,
    seconds_or_none,
)
from pipeline.reporting.terminal import print_table
from pipeline.run.settings import PARAMS_FILE, StageError, read_params_file
from sheap.evaluation.measures import MEASURES
from sheap.evaluation.measures.base import Inputs, Measure, MissingInput, Table
from sheap.files import require_writable, write_json

if TYPE_CHECKING:
    from pipeline.evaluate import WorkloadParams
    from sheap.results.submission_state import SubmissionState

app = typer.Typer(no_args_is_help=True, help="Measure predictions.")

FiguresFile = Annotated[Path | None, typer.Option(help="A JSON file for the figures.")]


def print_tables(tables: list[Table]) -> None:
    """Tables on stdout, their notes below on stderr."""
    for table in tables:
        printed = Printed(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            printed.add_column(column.title, no_wrap=True, justify="right" if number else "left")
        for row in table.rows:
            printed.add_row(*row.cells)
        print_table(printed)
        for note in table.notes:
            print(note, file=sys.stderr)


def report(measure: Measure[Any], figures: Mapping[str, Any], out: Path | None) -> None:
    """What every command ends with: the tables, and the measure's section of metrics.json where it is asked for."""
    print_tables(measure.tables(figures))
    if out is not None:
        write_json(out, figures.get(measure.name, figures))


def load_inputs(model: Path | None, head_model: Path | None, landmark_model: Path | None, folder: Path) -> Inputs:
    """The stage's methods for one model. folder: for files that measures leave."""
    from pipeline.evaluate import methods_of
    from pipeline.files.trained_model import load_trained

    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model)
    return Inputs(methods_of(predictor), predictor.face_finder, folder, **workload_here().of_inputs())


def workload_here(**given: int | None) -> WorkloadParams:
    """How much is done at once: as given, the rest as this folder's params.yaml has it; without one, as the library has it."""
    from pipeline.evaluate import WorkloadParams
    from sheap.evaluation.pictures import PICTURES_A_PASS

    section = stage_section()
    settings = {"batch_size": PICTURES_A_PASS, "num_workers": 1}
    settings |= {name: section[name] for name in settings if name in section}
    settings |= {name: value for name, value in given.items() if value is not None}
    return WorkloadParams.model_validate(settings)


def stage_section() -> dict[str, Any]:
    """Section `evaluate` of this folder's params.yaml; empty where there is none."""
    return read_params_file().get("evaluate", {}) if PARAMS_FILE.is_file() else {}


def command_of(measure: Measure[Any]) -> Callable[..., None]:
    """The command of a measure: an option for each of its settings. What is not given is read from params.yaml."""

    def command(model: Path | None, head_model: Path | None, landmark_model: Path | None, out: Path | None, **given: Any) -> None:
        if out is not None:
            require_writable(out)
        settings = complete_settings(measure, {name: value for name, value in given.items() if value is not None})
        try:
            measure.check(settings)
        except MissingInput as error:
            raise StageError(error.problem) from None
        with tempfile.TemporaryDirectory() as folder:
            inputs = load_inputs(model, head_model, landmark_model, Path(folder))
            figures = measure.figures(settings, inputs)
            if not figures:
                raise StageError(f"{measure.name}: cannot be measured with these settings (see docs/evaluation)")
            report(measure, figures, out)

    fixed = {"model": (Model, None), "head_model": (HeadFile, None), "landmark_model": (LandmarkFile, None)}
    options: dict[str, tuple[Any, Any]] = {**fixed, "out": (FiguresFile, None)}
    for name, setting in measure.settings.model_fields.items():
        if name != measure.name:
            kind = setting.annotation if setting.annotation in (bool, int, float) else str
            options[name] = (Annotated[kind | None, typer.Option(flag_of(name, setting), help=setting.description)], None)
    parameter = inspect.Parameter
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter(name, parameter.KEYWORD_ONLY, annotation=kind, default=value) for name, (kind, value) in options.items()]
    )
    command.__annotations__ = {name: kind for name, (kind, _) in options.items()}
    command.__doc__ = measure.summary
    return command


def flag_of(name: str, setting: FieldInfo) -> str:
    """What a setting is called on the command line."""
    extra = setting.json_schema_extra
    named = extra.get("option") if isinstance(extra, dict) else None
    return str(named or f"--{name.replace('_', '-')}")


def complete_settings(measure: Measure[Any], given: dict[str, Any]) -> Any:
    """Settings as given, the switch on, the rest as this folder's params.yaml has it. Raises StageError naming an option."""
    fields = measure.settings.model_fields
    settings = dict(given) | ({measure.name: True} if measure.name in fields else {})
    absent = [name for name in fields if name not in settings]
    if absent:
        section = stage_section()
        settings |= {name: section[name] for name in absent if name in section}
    still_absent = [flag_of(name, fields[name]) for name in absent if name not in settings]
    if still_absent:
        raise StageError(f"{measure.name}: {', '.join(still_absent)} not given, and there is no params.yaml here that says it")
    try:
        return measure.settings.model_validate(settings)
    except ValidationError as error:
        item = error.errors()[0]
        name = str(item["loc"][0]) if item["loc"] else measure.name
        place = flag_of(name, fields[name]) if name in given and name in fields else f"params.yaml: evaluate.{name}"
        raise StageError(f"{place} {item['input']}: {item['msg']}") from None


def now(
    dataset: Annotated[Path, typer.Option(help="A folder in NoW's layout.")],
    predictions: Annotated[Path, typer.Option(help="A folder in NoW's submission format.")],
    challenge: Annotated[str | None, typer.Option(help="One of NoW's challenges instead of all.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes, if others; 0 takes every core.")] = None,
    metrical_unit: Annotated[Literal["m", "cm", "mm"] | None, typer.Option(help="Evaluate the metrical variant.")] = None,
    image_timeout: ImageTimeout = IMAGE_TIMEOUT_S,
    out: Annotated[Path | None, typer.Option(help="Result folder (PREDICTIONS/results).")] = None,
) -> None:
    """The NoW error of a submission, as the official tool measures it; writes its result files too.

    Exit code 3: predictions are missing or malformed, of an earlier run or another picture, or of no image of the list.
    """
    from dataclasses import asdict

    from sheap.evaluation.measures.base import error_table
    from sheap.evaluation.now.dataset import NowDataset
    from sheap.evaluation.now.evaluation import evaluate_now_folder
    from sheap.results.submission_state import submission_state

    opened = NowDataset.open(dataset)
    num_workers = workload_here(num_workers=workers).of_inputs()["num_workers"]
    options = {"challenge": challenge, "metrical_unit": metrical_unit, "num_workers": num_workers}
    with progress_bar("now") as progress:
        evaluation = evaluate_now_folder(
            opened, predictions, out, image_timeout_s=seconds_or_none(image_timeout), progress=progress, **options
        )
    errors = {predictions.name: {name: asdict(figures) for name, figures in evaluation.statistics().items()}}
    print_tables([error_table("NoW", "", errors, "challenge", ("median_mm", "mean_mm", "std_mm"))])
    for item in evaluation.evaluated:
        for remark in item.warnings:
            print(f"warning: {item.image}: {remark}", file=sys.stderr)
    for image, reason in {**evaluation.missing, **evaluation.malformed}.items():
        print(f"not evaluated: {image}: {reason}", file=sys.stderr)
    images = opened.of_challenge(challenge).images
    finish(submission_state(predictions, images, opened.images, opened.image_path), evaluation.malformed)


def finish(state: SubmissionState, malformed: Collection[str]) -> None:
    """Says how much of the list the figures are of, and ends with a code of its own where it is not the whole of it."""
    for line in state.lines():
        print(line, file=sys.stderr)
    print(f"{state}" + (f", {len(malformed)} malformed" if malformed else ""))
    if malformed or not state.is_whole:
        raise typer.Exit(INCOMPLETE)


def expressions(
    dataset: Annotated[Path, typer.Option(help="A folder in the layout of docs/evaluation/expressions.md.")],
    predictions: Annotated[Path, typer.Option(help="A folder as `sheap predict expressions` writes it.")],
    image_timeout: ImageTimeout = IMAGE_TIMEOUT_S,
    out: FiguresFile = None,
) -> None:
    """Errors of faces with an expression, by region. Exit code 3: as for now."""
    from sheap.evaluation.expression_dataset import ExpressionDataset, ExpressionImage
    from sheap.evaluation.expression_error import evaluate_expressions
    from sheap.evaluation.measures.base import error_table
    from sheap.evaluation.now.submission import SubmissionFolder
    from sheap.results.submission_state import submission_state

    if out is not None:
        require_writable(out)
    opened = ExpressionDataset.open(dataset)
    malformed: dict[ExpressionImage, str] = {}
    with progress_bar("expressions") as progress:
        figures, without = evaluate_expressions(
            opened,
            {str(predictions): SubmissionFolder(predictions)},
            malformed=malformed,
            image_timeout_s=seconds_or_none(image_timeout),
            progress=progress,
        )
    errors = figures[str(predictions)]
    missing = [str(image) for image in without]
    state = submission_state(predictions, opened.images, opened.images, opened.image_path)
    fields = ("median_mm", "mean_mm", "std_mm")
    print_tables([error_table("Faces with an expression", "", {predictions.name: errors}, "region", fields)])
    for image in missing:
        print(f"not evaluated: {image}: no prediction", file=sys.stderr)
    for broken, reason in malformed.items():
        print(f"not evaluated: {broken}: {reason}", file=sys.stderr)
    if out is not None:
        found = errors | {"missing": missing, "malformed": {str(image): reason for image, reason in malformed.items()}}
        write_json(out, found | {"submission": state.to_json()})
    finish(state, [str(image) for image in malformed])


def footage(
    files: Annotated[list[Path], typer.Argument(help="Videos and pictures of real people, folders of them, or patterns.")],
    model: Model = None,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    frames: Annotated[int | None, typer.Option(min=8, help="At most so many frames of each video, if others.")] = None,
    out: FiguresFile = None,
) -> None:
    """Steadiness, and agreement with detected landmarks, on real footage; there is no ground truth in it."""
    from sheap.evaluation.measures.footage import FootageMeasure
    from sheap.results.inputs import named_files
    from sheap.video.file_names import PICTURE_SUFFIXES, VIDEO_SUFFIXES

    if out is not None:
        require_writable(out)
    measure = FootageMeasure()
    given = {"carphone": False, "footage_dir": None, **({} if frames is None else {"footage_frames": frames})}
    settings = complete_settings(measure, given)
    paths = named_files(files, PICTURE_SUFFIXES | VIDEO_SUFFIXES, "videos or pictures").all_there()
    with tempfile.TemporaryDirectory() as folder:
        inputs = load_inputs(model, head_model, landmark_model, Path(folder))
        report(measure, measure.of_files(paths, settings.footage_frames, inputs), out)


OWN: dict[str, Callable[..., None]] = {"now": now, "expressions": expressions, "footage": footage}
"""Commands of measures that also take what no setting names: submission folders, single files."""


def add_commands(measures: list[Measure[Any]]) -> None:
    """One command a measure."""
    for measure in measures:
        name = measure.name.replace("_", "-")
        app.command(name)(OWN[measure.name] if measure.name in OWN else command_of(measure))


add_commands(MEASURES)
