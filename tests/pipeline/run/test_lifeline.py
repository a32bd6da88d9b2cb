"""kill -9 of a plain `dvc repro`: its stage ends with it, and the next command goes on at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[3]

STAGE = """
import os, pathlib, subprocess, sys, time
from pipeline.run.settings import StageParams
from pipeline.run.stage import stage_main

class ToyParams(StageParams):
    seconds: float

def run(params):
    count = len(list(pathlib.Path().glob("pids.*")))
    # One child as usual, one in a session of its own, as Ray starts some of its helpers.
    nap = [sys.executable, "-c", "import time; time.sleep(120)"]
    children = [subprocess.Popen(nap), subprocess.Popen(nap, start_new_session=True)] if count == 0 else []
    pathlib.Path(f"pids.{count}").write_text(" ".join(str(pid) for pid in [os.getpid(), *(c.pid for c in children)]))
    if count == 0:
        time.sleep(params.seconds)
    pathlib.Path("out.txt").write_text("done")

if __name__ == "__main__":
    sys.exit(stage_main("toy", ToyParams, run))
"""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_dvc_takes_its_stage_along_and_the_next_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("toy: {seconds: 120}\n")
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  toy:\n    cmd: {sys.executable} toy.py\n    params: [toy]\n    outs: [out.txt]\n"
    )
    dvc = [sys.executable, "-m", "dvc"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    repro = subprocess.Popen([*dvc, "repro"], cwd=tmp_path, env=environment, start_new_session=True)
    wait_for((tmp_path / "pids.0").exists, "the stage to start")
    wait_for(lambda: (tmp_path / "pids.0").read_text().count(" ") == 2, "its processes")
    pids = [int(pid) for pid in (tmp_path / "pids.0").read_text().split()]
    repro.send_signal(signal.SIGKILL)
    repro.wait()
    again = subprocess.run([*dvc, "repro"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (tmp_path / "out.txt").read_text() == "done" and (tmp_path / "pids.1").exists()
    assert not any(map(is_alive, pids))
