"""Nothing that a flow started outlives it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.commands import run_on_leash

NAP = "import time; time.sleep(60)"


def wait_for(condition, what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_flow_process_takes_dvc_and_the_stage_with_it(project: Path, number: signal.Signals) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("carphone: true", "sleep_s: 60"))
    program = (
        # A shell's background jobs ignore SIGINT, and their children inherit that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from pathlib import Path; from flows.commands import run_on_leash\n"
        "run_on_leash([sys.executable, '-m', 'dvc', 'repro', '-s', 'corpus'], Path.cwd(), print)"
    )
    flow = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        wait_for((project / "pids.txt").exists, "the stage to start")
        pids = [int(pid) for pid in (project / "pids.txt").read_text().split()]
        assert all(is_alive(pid) for pid in pids) and os.getpgid(pids[0]) != os.getpgid(flow.pid)
        flow.send_signal(number)
        flow.wait(timeout=20)
        wait_for(lambda: not any(map(is_alive, pids)), "the stage and its children to end")
    finally:
        flow.kill()
        flow.wait()
    assert not (project / "data/corpus.txt").exists()


def test_an_orphaned_stage_ends_when_dvc_is_killed(tmp_path: Path) -> None:
    """`kill -9` of dvc leaves its stage without a parent: the leash ends it before the flow goes on."""
    parent = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {NAP!r}])\n"
        "open('pid.txt', 'w').write(str(child.pid))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert run_on_leash([sys.executable, "-c", parent], tmp_path, print) == 128 + signal.SIGKILL
    assert not is_alive(int((tmp_path / "pid.txt").read_text()))


def test_a_process_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w').close(); {NAP}"
    program = (
        "import subprocess, sys, pathlib, time, flows.leash as leash\n"
        f"child = subprocess.Popen([sys.executable, '-c', {deaf!r}], start_new_session=True)\n"
        "while not pathlib.Path('deaf').exists(): time.sleep(0.02)\n"
        "leash.end_group(child.pid, grace_s=0.5)\n"
        "print(child.wait())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == str(-signal.SIGKILL), done.stderr


def test_output_lines_exit_code_and_python_on_path(tmp_path: Path) -> None:
    lines: list[str] = []
    script = (
        "import shutil, sys\n"
        "print('\\x1b[32mgreen\\x1b[0m', flush=True)\n"
        "for i in range(500): sys.stderr.write(f'\\r{i} of 500')\n"
        "sys.stderr.write('\\nlast without newline')\n"
        "sys.stderr.flush(); print(); print(shutil.which('python'))\n"
        "sys.exit(7)"
    )
    code = run_on_leash([sys.executable, "-c", script], tmp_path, lines.append)
    assert code == 7
    assert lines[0] == "green"
    assert "499 of 500" in lines, "the last state of a progress bar is a finished line"
    assert len(lines) < 10, "a progress bar's rewrites are thinned out"
    assert str(Path(sys.executable).parent / "python") in lines
