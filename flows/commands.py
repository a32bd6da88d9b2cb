"""Runs a command on a leash (flows.leash) and hands its output on line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flows import leash

PROGRESS_EVERY_S = 10.0
"""A progress bar rewrites one line many times a second; a log gets one of them in this many seconds."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment_with_this_python() -> dict[str, str]:
    """The environment in which `python` is the interpreter that runs us, as dvc.yaml's commands expect."""
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }


def run_on_leash(command: list[str], folder: Path, on_line: Callable[[str], None] | None = None) -> int:
    """Runs `command` in `folder` in its own process group and returns its exit code.

    Each finished line of its output (stdout and stderr together) goes to `on_line`; of a progress bar's rewrites, one
    every PROGRESS_EVERY_S seconds. Without `on_line` the command writes where we write.
    When this call ends by an exception, or this process by any signal, the whole group ends.
    """
    process = subprocess.Popen(
        [sys.executable, leash.__file__, *command],
        cwd=folder,
        env=environment_with_this_python(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if on_line else None,
        stderr=subprocess.STDOUT if on_line else None,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        if on_line and process.stdout:
            _forward_lines(process.stdout.fileno(), on_line)
        return process.wait()
    finally:
        process.stdin.close()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _forward_lines(descriptor: int, on_line: Callable[[str], None]) -> None:
    pending = b""
    last_progress = time.monotonic()
    while chunk := os.read(descriptor, 65536):
        pending += chunk
        *complete, pending = re.split(rb"(?<=[\r\n])", pending)
        for raw in complete:
            text = _ANSI.sub("", raw.decode("utf-8", errors="replace")).rstrip()
            if not text:
                continue
            if raw.endswith(b"\r"):
                if time.monotonic() - last_progress < PROGRESS_EVERY_S:
                    continue
                last_progress = time.monotonic()
            on_line(text)
    if rest := _ANSI.sub("", pending.decode("utf-8", errors="replace")).strip():
        on_line(rest)
