"""Ends a stage, with everything it started, when the `dvc` that runs it is gone.

A kill -9 of `dvc repro` leaves its stage alive, holding the stage's lock and writing on beside whoever comes next; nobody would
record what it makes. Flows need none of this (flows.leash), but a plain `dvc repro` has nobody else to see to it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil

POLL_S = 0.5
GRACE_S = 5.0
"""Between the polite signal and the final one, for what the stage has started."""


def end_with_dvc(name: str) -> None:
    """From now on this process ends, and its descendants do, soon after the nearest `dvc` above it; nothing without one."""
    parent = running_dvc()
    if parent is not None:
        threading.Thread(target=_watch, args=(name, parent), daemon=True).start()


def running_dvc() -> psutil.Process | None:
    """The nearest ancestor that is DVC's command; None where DVC has not started this stage."""
    if "DVC_STAGE" not in os.environ:
        return None
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(Path(word).name in ("dvc", "dvc.exe") for word in words[:3]):
            return process
    return None


def _watch(name: str, parent: psutil.Process) -> None:
    while _is_alive(parent):
        time.sleep(POLL_S)
    print(f"{name}: error: dvc was ended, so this stage ends too; the next run goes on from here", file=sys.stderr, flush=True)
    children = psutil.Process().children(recursive=True)
    for number, grace_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 1.0)):
        for child in children:
            try:
                child.send_signal(number)
            except psutil.Error:
                continue
        _, children = psutil.wait_procs(children, timeout=grace_s)
    # Not sys.exit: only the main thread could, and it may be deep inside a computation.
    os._exit(1)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
