"""The progress bar of training, drawn where the stage was started, from the history the first worker writes."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sheap.training.config import TrainingConfig

POLL_SECONDS = 0.5
LINE_SECONDS = 15.0
"""Without a terminal, a plain line this often at most."""

log = logging.getLogger("train")


@contextmanager
def follow_history(path: Path, config: TrainingConfig) -> Iterator[None]:
    """Shows progress from `history.jsonl` while the block runs."""
    done = threading.Event()
    show = _show_bar if sys.stderr.isatty() else _show_lines
    thread = threading.Thread(target=show, args=(path, config, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)


def last_training_record(path: Path) -> dict[str, Any] | None:
    """The newest complete `training` record; None before the first."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 16_384))
            lines = stream.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines[:-1]):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and record.get("kind") == "training":
            return record
    return None


def describe(record: dict[str, Any]) -> str:
    """Loss and speed in words."""
    return f"loss {record.get('loss', float('nan')):.4f}, {record['images_per_second']:.0f} images/s"


def _show_bar(path: Path, config: TrainingConfig, done: threading.Event) -> None:
    from rich.console import Console

    columns = [
        TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    ]  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        lengths = {"landmarks": config.landmark_phase.steps, "rendered": config.rendered_phase.steps}
        tasks = {
            name: progress.add_task(name, total=length, start=False, figures="starting Ray")
            for name, length in lengths.items()
            if length
        }
        while not done.wait(POLL_SECONDS):
            record = last_training_record(path)
            if record is None:
                continue
            for name, task in tasks.items():
                offset = 0 if name == "landmarks" else lengths["landmarks"]
                steps = min(max(record["step"] - offset, 0), lengths[name])
                if name == record["phase"]:
                    progress.start_task(task)
                progress.update(task, completed=steps, figures=describe(record) if name == record["phase"] else "")


def _show_lines(path: Path, config: TrainingConfig, done: threading.Event) -> None:
    shown_at, shown_step, rates = 0.0, -1, {}
    while not done.wait(POLL_SECONDS):
        record = last_training_record(path)
        if record is None or record["step"] == shown_step or time.monotonic() - shown_at < LINE_SECONDS:
            continue
        now = time.monotonic()
        eta = ""
        # A resumed run goes back to its checkpoint: no rate spans that.
        if rates.get("phase") == record["phase"] and record["step"] > rates["step"]:
            per_step = (now - rates["time"]) / (record["step"] - rates["step"])
            end = config.landmark_phase.steps if record["phase"] == "landmarks" else config.total_steps
            eta = f", {(end - record['step']) * per_step:.0f} s to the end of this phase"
        log.info("step %d/%d (%s): %s%s", record["step"], config.total_steps, record["phase"], describe(record), eta)
        rates = {"phase": record["phase"], "time": now, "step": record["step"]}
        shown_at, shown_step = now, record["step"]
