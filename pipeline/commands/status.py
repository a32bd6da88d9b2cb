"""`sheap status`: what is champion and why, what ran, what failed and what to do, what comes next, and who takes the disk.

One screen, from what there is: git's tags, DVC's lock file, the stages' logs, and a Prefect server where one answers.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table

from pipeline.run.champions import ARTIFACT, FETCHED_DIR, assignments, git, known_versions
from pipeline.run.settings import StageError, read_params_file
from pipeline.run.stage import STATE_DIR
from pipeline.workers.finished_runs import read_finished
from pipeline.workers.train_progress import describe, last_training_record
from sheap.training.run_folder import HISTORY_NAME

LOCAL_SERVER = "http://127.0.0.1:4200/api"
SERVER_S = 3.0
COUNT_S = 4.0
"""Time for adding up sizes: a folder that takes longer is said to be at least so large."""

Rows = Iterable[tuple[str, str]]


def show_status(console: Console) -> None:
    """Prints the screen."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for title, rows in (
        ("champion", champion_rows()), ("stages", stage_rows()), ("training", training_rows()), ("runs", run_rows()),
        ("failed", failure_rows()), ("disk", disk_rows()),
    ):  # fmt: skip
        for number, (name, text) in enumerate(rows):
            table.add_row(title if number == 0 else "", f"{name}: {text}" if name else text)
    console.print(table)


def champion_rows() -> Iterator[tuple[str, str]]:
    """Which version is served, since when and why, and the last decision."""
    if git("rev-parse", "--verify", "HEAD") is None:
        yield "", "no git checkout with a commit, so no versions; git init, commit, then sheap promote"
        return
    stage = str(read_params_file().get("promote", {}).get("stage", "champion"))
    try:
        known = assignments(stage)
    except StageError as error:
        yield "", str(error)
        return
    if not known:
        yield "", f"none of {len(known_versions())} versions; 'sheap promote' makes the first"
    else:
        present = known[-1]
        yield "", f"{ARTIFACT}@{present.version} since {local_time(present.when)}: {present.why}"
    if len(known) > 1:
        yield "before", f"{known[-2].version}; back to it: sheap rollback"
    note = STATE_DIR / "promotion.json"
    if note.exists():
        decision = json.loads(note.read_bytes())
        what = "promoted" if decision["promoted"] else "kept the champion"
        yield "last decision", f"{local_time(note.stat().st_mtime)}, {decision['command']} {what}: {decision['reason']}"


def stage_rows() -> Iterator[tuple[str, str]]:
    """What DVC would run again."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            names = [stage.addressing for stage in repo.index.stages if stage.cmd]
            changed = {name.rpartition(":")[2] for name in repo.status()}
    except NotDvcRepoError:
        yield "", "no DVC project here; run from the project's root"
        return
    except DvcException as error:
        yield "", " ".join(str(error).split())
        return
    stale = [name for name in names if name in changed]
    yield "", f"all {len(names)} are up to date" if not stale else f"out of date: {', '.join(stale)}; dvc repro runs them"


def training_rows() -> Iterator[tuple[str, str]]:
    """Trainings that have checkpoints: running, interrupted, or finished and not recorded yet."""
    is_held = is_locked("train")
    found = False
    for folder in sorted((STATE_DIR / "checkpoints").glob("*"), key=lambda path: -path.stat().st_mtime)[:4]:
        record = last_training_record(folder / HISTORY_NAME)
        if record is None:
            continue
        age = duration(time.time() - (folder / HISTORY_NAME).stat().st_mtime)
        state = "interrupted; the same command goes on" if not is_held or found else "running"
        if read_finished(folder) is not None:
            state = "finished; kept until DVC has recorded the model"
        found = True
        yield folder.name, f"step {record['step']} of {record['total_steps']}, {describe(record)}, {age} ago; {state}"
    if not found:
        yield "", "none in progress"


def run_rows() -> Iterator[tuple[str, str]]:
    """What the server ran last and will run next; checkouts that failed runs have left."""
    url = os.environ.get("PREFECT_API_URL") or LOCAL_SERVER
    try:
        ran = of_states("COMPLETED", "FAILED", "CRASHED", "RUNNING")
        past = ask(url, {"sort": "EXPECTED_START_TIME_DESC", "limit": 3, **ran})
        coming = ask(url, {"sort": "EXPECTED_START_TIME_ASC", "limit": 2, **of_states("SCHEDULED", "PENDING")})
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        yield "server", f"none answers at {url} ({' '.join(str(reason).split())}); prefect server start, or set PREFECT_API_URL"
    else:
        for run in past:
            state = run["state"]
            yield run["name"], f"{local_time(run['expected_start_time'])}, {state['name']}: {state['message'] or ''}".rstrip(": ")
        for run in coming:
            yield "next", f"{local_time(run['expected_start_time'])}, {run['name']} ({run['state']['name'].lower()})"
        if not coming:
            yield "next", "nothing is scheduled (prefect.yaml: active: true, then infra/prefect/deploy.sh)"
    for folder in sorted((STATE_DIR / "runs").glob("*")):
        yield "left by a run", f"{folder}; the same run goes on there, git worktree remove --force ends it"


def of_states(*names: str) -> dict[str, Any]:
    return {"flow_runs": {"state": {"type": {"any_": list(names)}}}}


def ask(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Flow runs from a Prefect server. Raises OSError when none answers, ValueError when it is something else."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url.rstrip('/')}/flow_runs/filter", json.dumps(body).encode("utf-8"), headers)
    with urllib.request.urlopen(request, timeout=SERVER_S) as answer:
        document = json.load(answer)
    if not isinstance(document, list):
        raise ValueError("not a Prefect server's answer")
    return document


def failure_rows() -> Iterator[tuple[str, str]]:
    """Logs that failed stages have left, the newest first, with their last line."""
    logs = sorted((STATE_DIR / "logs").glob("*.log"), key=lambda path: -path.stat().st_mtime)
    for path in logs[:3]:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["empty"]
        yield path.stem, f"{local_time(path.stat().st_mtime)}: {lines[-1][:160]} ({path})"
    if not logs:
        yield "", "nothing that left a log"


def disk_rows() -> Iterator[tuple[str, str]]:
    """Who takes how much, and what is free."""
    places = ("data", ".dvc/cache", STATE_DIR / "ingest", STATE_DIR / "checkpoints", STATE_DIR / "runs", FETCHED_DIR,
              STATE_DIR / "wandb", ".prefect")  # fmt: skip
    sizes = [f"{place} {size_of(Path(place))}" for place in places if Path(place).exists()]
    yield "", f"{in_bytes(shutil.disk_usage('.').free)} free; " + (", ".join(sizes) or "nothing of ours yet")


def size_of(folder: Path) -> str:
    """The bytes of all files below, in words; hard links count each time."""
    total, deadline, waiting = 0, time.monotonic() + COUNT_S, [str(folder)]
    while waiting:
        if time.monotonic() > deadline:
            return f"over {in_bytes(total)}"
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return in_bytes(total)


def is_locked(stage: str) -> bool:
    """Whether the stage runs in this checkout."""
    path = STATE_DIR / "locks" / f"{stage}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def local_time(moment: str | float) -> str:
    """A time as people of this machine read it."""
    when = datetime.fromtimestamp(moment, UTC) if isinstance(moment, (int, float)) else datetime.fromisoformat(moment)
    return when.astimezone().strftime("%d %b %H:%M")


def duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def in_bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
