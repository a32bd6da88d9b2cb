"""The flow `train-sheap`: every stage of dvc.yaml as one Prefect task, from a video corpus to a registered model.

A task runs `dvc repro -s STAGE`, so the graph exists once and `dvc repro` by hand shares its cache. The flow works in
the current folder: the checkout for `make demo`, the deployment's working directory under a worker. A run with settings of
its own works in a checkout of its own (flows.run_checkout).
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import NonNegativeFloat, NonNegativeInt

from flows.commands import run_on_leash
from flows.graph import stage_names
from flows.own_corpus import OWN_DVC_FILE, OWN_STAGE, use_corpus
from flows.places import check_named_inputs, prepare_place
from flows.run_checkout import RunCheckout
from pipeline.run.settings import PARAMS_FILE, StageError, StageParams, load_params
from pipeline.run.stage import STATE_DIR

MISTAKE_EXIT_CODE = 2
"""A stage's exit code for a user's mistake (pipeline.run.stage.stage_main): trying again cannot help."""

DVC_HINTS = ("Generating lock file", "Updating lock file", "To track the changes", "git add", "To enable auto staging",
             "dvc config core.autostage", "Use `dvc push`")  # fmt: skip
"""What DVC advises after every stage; nine times the same in one log hides what the stages say."""


class FlowParams(StageParams):
    """The `flow` section of params.yaml."""

    retries: dict[str, NonNegativeInt]
    retry_delay_s: NonNegativeFloat


def checked_corpus(folder: str | Path) -> Path:
    """The absolute path of a folder of videos. Raises StageError when it is no folder, or none is named."""
    if not str(folder).strip():
        raise StageError(
            "corpus: empty, and no folder of videos is meant by that; an event names one in its payload "
            "(payload={'folder': '/path/to/videos'}), a command by --param corpus=/path/to/videos"
        )
    path = Path(os.path.normpath(Path(folder).expanduser().absolute()))
    if not path.exists():
        raise StageError(f"corpus: {path}: no such folder")
    if not path.is_dir():
        raise StageError(f"corpus: {path}: not a folder; name the folder that holds the videos")
    return path


def one_line_error(stage: str, lines: list[str], code: int) -> tuple[str, bool]:
    """What to tell the user of a failed `dvc repro -s STAGE`, and whether it is his mistake (so no retry helps).

    The stage's own line comes first, then DVC's; DVC's exit code hides the stage's, but it prints it.
    """
    exit_codes = [int(match[1]) for line in lines if (match := re.search(r"exited with (-?\d+)", line))]
    is_mistake = bool(exit_codes) and exit_codes[-1] == MISTAKE_EXIT_CODE
    own = [line for line in lines if re.match(rf"{re.escape(stage)}: (error|failed): ", line)]
    if own:
        return own[-1], is_mistake
    dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if dvc:
        # Without the stage's line this is DVC's own refusal (a missing input, say), unless the stage was killed.
        return f"{stage}: error: {dvc[-1]}", not exit_codes
    return f"{stage}: error: dvc ended with code {code} and said nothing", False


def without_empty_traceback(record: logging.LogRecord) -> bool:
    """Prefect logs a returned Failed state as an exception that there is not: "NoneType: None" below the one line that counts."""
    if record.exc_info and record.exc_info[0] is None:
        record.exc_info = None
    return True


def is_worth_a_retry(_task: Task[..., Any], _run: Any, state: State[Any]) -> bool:
    """Prefect's retry condition: a crash may be the machine's, a user's mistake stays one."""
    return state.name != "Mistake"


@task(retry_condition_fn=is_worth_a_retry)
def run_stage(stage: str, folder: Path) -> State[Any]:
    """Brings one stage of the checkout `folder` up to date. DVC skips it in a second when nothing that it depends on changed."""
    logger = get_run_logger()
    tail: list[str] = []

    def on_line(line: str) -> None:
        if line.lstrip().startswith(DVC_HINTS):
            return
        logger.info("%s", line)
        tail.append(line)
        del tail[:-200]

    code = run_on_leash([sys.executable, "-m", "dvc", "repro", "-s", stage], folder, on_line)
    if code == 0:
        return Completed(message=f"{stage} is up to date")
    message, is_mistake = one_line_error(stage.rpartition(":")[2], tail, code)
    # A returned state instead of an exception: the answer is that one line, not a traceback through Prefect.
    return Failed(message=message, name="Mistake" if is_mistake else "Failed")


@flow(name="train-sheap", log_prints=True)
def train_sheap(corpus: str | None = None, params: dict[str, Any] | None = None) -> State[Any]:
    """Runs every stage in order.

    corpus: a folder of videos to train on; None keeps the one that the settings name. params: settings of this run alone, by
    dotted name ({"train.training.seed": 1}), as `dvc exp run -S` takes them; the run then has a checkout of its own, and
    params.yaml stays as it is; a branch keeps what it was and made.
    Ends Failed with one line that names the stage, the file or the field; a later run goes on where this one stopped.
    """
    logger = get_run_logger()
    logging.getLogger("prefect.task_runs").addFilter(without_empty_traceback)
    project = Path.cwd()
    try:
        prepare_place(project)
        if corpus is not None:
            use_corpus(checked_corpus(corpus), project)
        if not params:
            return run_stages(project)
        checkout = RunCheckout.make(project, params)
        if left_out := checkout.uncommitted():
            logger.warning("not committed, so no part of this run: %s", ", ".join(left_out))
        record_params(checkout, params)
        state = run_stages(checkout.folder)
        if not state.is_completed():
            return state
        settings = ", ".join(f"{name}={value}" for name, value in sorted(params.items()))
        branch = checkout.commit_results(f"Run with {settings}")
        checkout.remove()
        return Completed(message=f"{state.message}; the settings and dvc.lock are on branch {branch}")
    except StageError as error:
        logger.error("%s", error)
        return Failed(message=str(error))


def run_stages(folder: Path) -> State[Any]:
    """Every stage of a checkout, in order; Failed with the line of the first that cannot be brought up to date.

    Raises StageError where the flow's own settings are wrong.
    """
    logger = get_run_logger()
    check_named_inputs(folder)
    stages = stage_names(folder)
    params = load_params("flow", FlowParams, folder / PARAMS_FILE)
    if unknown := sorted(set(params.retries) - set(stages)):
        raise StageError(f"{PARAMS_FILE}: 'flow.retries' names no stage of dvc.yaml: {', '.join(unknown)}")
    if (folder / OWN_DVC_FILE).exists():
        logger.info("%s: this checkout's own corpus stands for that of %s", OWN_DVC_FILE, PARAMS_FILE)
        stages = [OWN_STAGE, *stages]
    for stage in stages:
        stage_task = run_stage.with_options(
            name=stage,
            task_run_name=stage,
            retries=params.retries.get(stage, 0),
            retry_delay_seconds=params.retry_delay_s,
        )
        state = stage_task(stage, folder, return_state=True)
        if not state.is_completed():
            logger.error("%s", state.message)
            return Failed(message=state.message)
    return Completed(message=f"{len(stages)} stages are up to date")


def record_params(checkout: RunCheckout, params: dict[str, Any]) -> None:
    """A Prefect artifact: what this run was told, and from which commit it began."""
    table = [{"setting": name, "value": repr(value)} for name, value in sorted(params.items())]
    create_table_artifact(table, key="sheap-params", description=f"Settings of this run alone, on commit {checkout.commit}")


def main(arguments: list[str] | None = None) -> int:
    """Runs the flow here and now; its answer to a failure is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m flows.train_sheap", description="Runs the flow train-sheap.")
    parser.add_argument("--corpus", metavar="FOLDER", help="train on this folder of videos")
    corpus = parser.parse_args(arguments).corpus
    try:
        prepare_place(Path.cwd())
    except StageError as error:  # before a server is started
        print(f"train-sheap: {error}", file=sys.stderr)
        return 1
    try:
        state = train_sheap(corpus, return_state=True)  # pyrefly: ignore[no-matching-overload]
    except Exception as error:
        # Prefect's own trouble: no server, a full disk under PREFECT_HOME.
        log = STATE_DIR / "logs" / "flow.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"train-sheap: failed: {' '.join(str(error).split())} (details: {log})", file=sys.stderr)
        return 1
    if state.is_completed():
        return 0
    print(f"train-sheap: {state.message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
