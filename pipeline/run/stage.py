"""What every stage program shares: one door for errors, locks and output folders; settings come through `settings`.

A stage is `python -m pipeline.STAGE`: it reads its own section of params.yaml, files that earlier stages left, and
writes one output folder that appears only when it is complete.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.run.settings import Params, StageError, load_params, require_listed

STATE_DIR = Path(".sheap")
"""Locks, logs and checkpoints: everything a run keeps beside DVC's outputs."""


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
        # DVC drops the lock of a killed run at once; the orphaned stage may still be writing, so each holds its own.
        with FileLock(STATE_DIR / "locks" / f"{name}.lock", timeout=0):
            run(params)
    except Timeout:
        print(f"{name}: error: another '{name}' stage is running in this checkout; wait for it or end it", file=sys.stderr)
        return 2
    except (StageError, ValueError, OSError) as error:
        log = STATE_DIR / "logs" / f"{name}.log"
        _write_log(log)
        detail = "" if isinstance(error, StageError) else f" (details: {log})"
        print(f"{name}: error: {' '.join(str(error).split())}{detail}", file=sys.stderr)
        return 2
    except Exception as error:
        log = STATE_DIR / "logs" / f"{name}.log"
        _write_log(log)
        print(f"{name}: failed: {type(error).__name__}: {' '.join(str(error).split())} (details: {log})", file=sys.stderr)
        return 1
    return 0


def _write_log(path: Path) -> None:
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()


def cpu_count() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
