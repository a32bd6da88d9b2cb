"""Stage `evaluate`: every measure that the settings name, for the trained model and the mean head; writes data/evaluation.

metrics.json holds the figures (sheap.evaluation.measures says which); a measure may leave files of its own beside it. The
benchmark may be a real NoW download (params field `now_dir`). Predictions stay in memory: a NoW submission folder is an
export (`sheap predict now`).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from pipeline.metrics import METRICS_NAME
from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import atomic_directory, cpu_count, require_input, stage_main
from sheap.evaluation.measures import MEASURES
from sheap.evaluation.measures.base import MEAN_HEAD, MODEL, Inputs, Measure, Method, MissingInput
from sheap.files import write_json

if TYPE_CHECKING:
    from sheap.predictor import SheapPredictor

MODEL_DIR = Path("data/model")
OUTPUT_DIR = Path("data/evaluation")

log = logging.getLogger("evaluate")


class WorkloadParams(StageParams):
    """How much is done at once."""

    batch_size: int = Field(ge=1)
    """Pictures a forward pass."""
    num_workers: int = Field(ge=0)
    """Processes that measure; 0 takes every core."""

    def of_inputs(self) -> dict[str, int]:
        """Keywords of Inputs."""
        return {"batch_size": self.batch_size, "num_workers": self.num_workers or cpu_count()}


class PredictionParams(WorkloadParams):
    """What the stage is told beside the measures' own settings."""

    landmark_model: Path | None
    """MediaPipe's face landmark bundle; null takes the one that the model was trained with."""


def params_type(measures: Sequence[Measure[Any]]) -> type[PredictionParams]:
    """Params section `evaluate`: the stage's fields, and those of all measures side by side."""
    kinds = {measure.settings for measure in measures}
    own = [kind for kind in kinds if not any(other is not kind and issubclass(other, kind) for other in kinds)]
    bases = (PredictionParams, *sorted(own, key=lambda kind: kind.__name__))
    return create_model("EvaluateParams", __base__=bases, __module__=__name__)


EvaluateParams = params_type(MEASURES)


def run(params: PredictionParams) -> None:
    """Reads data/model and the benchmarks, writes data/evaluation."""
    require_input(MODEL_DIR / "config.json", "train")
    from pipeline.files.trained_model import load_start

    evaluate_model(params, MODEL_DIR, OUTPUT_DIR, load_start(MODEL_DIR))


def evaluate_model(
    params: PredictionParams, model: Path, out: Path, start: tuple[str, SheapPredictor] | None = None
) -> None:
    """Every measure that is wanted, for the model in a folder, the mean head and a start; figures and files make `out`."""
    # Measures that compute import torch; the worker processes that measuring starts import this module and need none.
    from pipeline.files.trained_model import load_trained, read_adaptation

    check_inputs(params, MEASURES)
    predictor = load_trained(model, landmark_model=params.landmark_model)
    with atomic_directory(out) as folder:
        methods = methods_of(predictor, start)
        inputs = Inputs(methods, predictor.face_finder, folder, **params.of_inputs())
        figures = measure_all(params, inputs, MEASURES)
        if (adaptation := read_adaptation(model)) is not None:
            figures["adaptation"] = adaptation.model_dump()
        write_json(folder / METRICS_NAME, figures)


def methods_of(predictor: SheapPredictor, start: tuple[str, SheapPredictor] | None = None) -> list[Method]:
    """What is measured, the columns of every table: the model, the mean head, and what the model began from."""
    from sheap.evaluation.predictions import mean_head

    methods = [Method(MODEL, predictor), Method(MEAN_HEAD, predictor, mean_head)]
    return methods if start is None else [*methods, Method(*start)]


def check_inputs(params: PredictionParams, measures: Sequence[Measure[Any]]) -> None:
    """Tells before anything is measured that a named folder or clip is not there. Raises StageError naming it."""
    for measure in measures:
        if measure.is_wanted(params):
            try:
                measure.check(params)
            except MissingInput as error:
                maker = error.made_by
                first = f"run the '{maker}' stage first (dvc repro {maker}), or " if maker else ""
                raise StageError(f"{error.problem}; {first}{error.remedy}") from None


def measure_all(params: PredictionParams, inputs: Inputs, measures: Sequence[Measure[Any]]) -> dict[str, Any]:
    """metrics.json: the figures of all measures that are wanted."""
    figures: dict[str, Any] = {}
    for measure in measures:
        if not measure.is_wanted(params):
            continue
        begin = time.monotonic()
        found = measure.figures(params, inputs)
        assert not figures.keys() & found.keys(), f"{measure.name}: writes another measure's figures"
        figures |= found
        log.info("%s: %s, %.0f s", measure.name, "measured" if found else "not applicable here", time.monotonic() - begin)
        for table in measure.tables(figures):
            log.info("%s: %s", table.title, table.first_row())
    return figures


if __name__ == "__main__":
    sys.exit(stage_main("evaluate", EvaluateParams, run))
