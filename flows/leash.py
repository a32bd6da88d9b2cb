"""Runs a command and ends it, with everything it started, as soon as the process that asked for it is gone.

    python -m flows.leash COMMAND ARGUMENT ...

A flow that is killed (kill -9 included) would leave `dvc repro` and a training alive, writing on beside the next run.
So the flow starts this program as the leader of a new process group and holds the other end of its standard input:
however the flow ends, that pipe closes, and the group is ended. The command's exit code is passed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil

GRACE_S = 10.0
"""Time between the polite signal and the final one: enough to finish writing a checkpoint."""


def group_members(group: int) -> list[psutil.Process]:
    """The living processes of process group `group` and their descendants, the caller excepted.

    Descendants count because a program like Ray starts some of its helpers in sessions of their own.
    """
    members: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group:
                members[process.pid] = process
                members.update((child.pid, child) for child in process.children(recursive=True))
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    members.pop(os.getpid(), None)
    return [process for process in members.values() if _is_alive(process)]


def end_group(group: int, grace_s: float = GRACE_S) -> None:
    """Ends every member of the group: SIGTERM, then SIGKILL for those that are still there after `grace_s` seconds."""
    members = group_members(group)
    for process in members:
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        # Asked anew each time: a member may have started another one while it was being ended.
        members = [process for process in members if _is_alive(process)]
        members += [process for process in group_members(group) if process not in members]
        if not members:
            return
        time.sleep(0.05)
    for process in members:
        _send(process, signal.SIGKILL)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def main(command: list[str]) -> int:
    if not command:
        print("usage: python -m flows.leash COMMAND [ARGUMENT ...]", file=sys.stderr)
        return 2
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    # Signals meant for the group reach the command; this process outlives it in order to finish the clean-up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def wait_for_release() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        # The command goes first, so that it can close what it started in its own order; the others follow its end.
        child.terminate()
        time.sleep(GRACE_S)
        end_group(os.getpgrp())

    holder = threading.Thread(target=wait_for_release, daemon=True)
    holder.start()
    code = child.wait()
    # The command is gone; whatever it left behind in the group (an orphaned stage) must not write on.
    end_group(os.getpgrp())
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
