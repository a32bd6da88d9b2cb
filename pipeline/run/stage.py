"""What every stage program shares: one door for errors, locks and output folders; settings come through `settings`.

A stage is `python -m pipeline.STAGE`: it reads its own section of params.yaml, files that earlier stages left, and
writes one output folder that appears only when it is complete.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.run.lifeline import end_with_dvc
from pipeline.run.settings import Params, StageError, load_params, require_listed

STATE_DIR = Path(".sheap")
"""Locks, logs and checkpoints: everything a run keeps beside DVC's outputs."""

LOCK_WAIT_S = 30.0
"""A stage whose dvc was killed ends by itself within this time (pipeline.run.lifeline): the next one waits for it."""

NO_SPACE = os.strerror(errno.ENOSPC)


def require_input(path: Path, made_by: str) -> Path:
    """`path` if it exists; otherwise a StageError that names the stage which makes it."""
    if not path.exists():
        raise StageError(f"{path}: missing; run the '{made_by}' stage first (dvc repro {made_by})")
    return path


@contextmanager
def atomic_directory(final: Path) -> Iterator[Path]:
    """Yields a temporary sibling folder that replaces `final` when the block ends without an exception.

    A folder at its final path is therefore always complete; a failed stage leaves the old one in place.
    """
    temporary = final.with_name(f".{final.name}.tmp")
    retired = final.with_name(f".{final.name}.old")
    try:
        for leftover in (temporary, retired):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)
    except OSError as error:
        raise StageError(f"{final}: cannot write here ({error.strerror}); check the folder's permissions") from None
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if final.exists():
        final.rename(retired)
    temporary.rename(final)
    shutil.rmtree(retired, ignore_errors=True)


def stage_main(name: str, params_type: type[Params], run: Callable[[Params], None]) -> int:
    """Runs one stage under its lock. Returns the exit code: 0 done, 2 the user's mistake, 1 our fault.

    Errors end in one line on stderr; an unexpected one leaves its traceback in .sheap/logs/STAGE.log and names it.
    """
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {name} %(message)s", datefmt="%H:%M:%S")
    try:
        (STATE_DIR / "locks").mkdir(parents=True, exist_ok=True)
        (STATE_DIR / "logs").mkdir(parents=True, exist_ok=True)
        params = load_params(name, params_type)
        require_listed(name, params)
        end_with_dvc(name)
        # DVC drops the lock of a killed run at once; the orphaned stage may still be writing, so each holds its own.
        with _stage_lock(name):
            run(params)
    except Timeout:
        print(f"{name}: error: another '{name}' stage is running in this checkout; wait for it or end it", file=sys.stderr)
        return 2
    except (StageError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            print(f"{name}: error: {full_disk(Path(error.filename or Path.cwd()))}", file=sys.stderr)
            return 2
        log = STATE_DIR / "logs" / f"{name}.log"
        _write_log(log)
        detail = "" if isinstance(error, StageError) else f" (details: {log})"
        print(f"{name}: error: {' '.join(str(error).split())}{detail}", file=sys.stderr)
        return 2
    except Exception as error:
        log = STATE_DIR / "logs" / f"{name}.log"
        _write_log(log)
        if NO_SPACE in str(error):
            print(f"{name}: error: {full_disk(Path.cwd())}", file=sys.stderr)
            return 2
        print(f"{name}: failed: {type(error).__name__}: {' '.join(str(error).split())} (details: {log})", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _stage_lock(name: str) -> Iterator[None]:
    """Holds the stage's lock. Raises Timeout when another run of the stage does not end within LOCK_WAIT_S."""
    lock = FileLock(STATE_DIR / "locks" / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger(name).info("another '%s' stage is running; waiting %g s for its end", name, LOCK_WAIT_S)
        lock.acquire(timeout=LOCK_WAIT_S)
    try:
        yield
    finally:
        lock.release()


def full_disk(path: Path) -> str:
    """What to tell a user whose disk is full, in one line."""
    return f"{path}: {NO_SPACE.lower()}; free some and run again, which goes on from what is finished (docs/operations.md)"


def _write_log(path: Path) -> None:
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()


def cpu_count() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
