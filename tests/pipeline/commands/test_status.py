"""`sheap status` says what is so, with and without a server, a champion or a repository."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from pipeline.commands import status
from pipeline.workers.finished_runs import write_finished


def screen() -> str:
    console = Console(width=130, file=io.StringIO(), record=True)
    status.show_status(console)
    return console.export_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    (tmp_path / "params.yaml").write_text("promote: {stage: champion}\n")
    return tmp_path


def made_training(name: str, step: int) -> Path:
    folder = Path(".sheap/checkpoints") / name
    folder.mkdir(parents=True)
    record = {"kind": "training", "step": step, "total_steps": 400, "phase": "rendered", "loss": 0.5, "images_per_second": 7.0}
    (folder / "history.jsonl").write_text(json.dumps(record) + "\n")
    return folder


def test_without_anything_it_says_what_would_be_there(project: Path) -> None:
    text = screen()
    assert "no git checkout with a commit" in text and "no DVC project here" in text and "none in progress" in text
    assert "none answers at http://127.0.0.1:1/api" in text and "nothing that left a log" in text and "free" in text
    assert len(text.splitlines()) < 20


def test_trainings_are_running_interrupted_or_finished(project: Path) -> None:
    made_training("aaaa", 200)
    assert "aaaa: step 200 of 400, loss 0.5000, 7 images/s" in screen() and "interrupted; the same command goes on" in screen()
    (project / ".sheap/locks").mkdir()
    with FileLock(".sheap/locks/train.lock"):
        assert "ago; running" in screen()
    write_finished(made_training("bbbb", 400), {})
    assert "finished; kept until DVC has recorded the model" in screen()


def test_champion_stages_failures_and_left_checkouts(project: Path) -> None:
    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    call("git", "init", "-q")
    call(sys.executable, "-m", "dvc", "init", "-q")
    Path("dvc.yaml").write_text("stages:\n  toy:\n    cmd: echo 1 > out.txt\n    outs: [out.txt]\n")
    call("git", "add", "--all")
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    call("git", *identity, "commit", "-q", "-m", "one")
    assert "none of 0 versions; 'sheap promote' makes the first" in screen()
    for tag, message in (
        ("sheap@v0.0.1", "x"), ("sheap#champion#1", "first version; median 1.200 mm"),
        ("sheap#champion#2", "rollback from v0.0.2: it blinks"),
    ):  # fmt: skip
        call("git", *identity, "tag", "-a", tag, "-m", message)
    Path(".sheap/logs").mkdir(parents=True)
    Path(".sheap/logs/ingest.log").write_text("Traceback\n  deep\nZeroDivisionError: boom\n")
    Path(".sheap/runs/abc").mkdir(parents=True)
    note = {"command": "promote", "promoted": False, "reason": "not better", "tags": []}
    Path(".sheap/promotion.json").write_text(json.dumps(note))
    text = " ".join(screen().split())
    assert "sheap@v0.0.1 since " in text and ": rollback from v0.0.2: it blinks" in text
    assert "out of date: toy; dvc repro runs them" in text
    assert "promote kept the champion: not better" in text
    assert "ZeroDivisionError: boom (.sheap/logs/ingest.log)" in text
    assert "left by a run: .sheap/runs/abc" in text
    call(sys.executable, "-m", "dvc", "repro", "-q")
    assert "all 1 are up to date" in screen()


def test_runs_are_those_of_the_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)

    def run(name: str, when: datetime, state: str, message: str | None) -> dict[str, object]:
        return {"name": name, "expected_start_time": when.isoformat(), "state": {"name": state, "message": message}}

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            is_past = "FAILED" in wanted["flow_runs"]["state"]["type"]["any_"]
            past = [run("brave-owl", now, "Failed", "train: error: no shards"), run("old-ox", now, "Completed", None)]
            body = past if is_past else [run("next-newt", now + timedelta(hours=5), "Scheduled", None)]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    text = screen()
    server.shutdown()
    assert "Failed: train: error: no shards" in text and "Completed" in text and "next-newt (scheduled)" in text


def test_sizes_are_added_up_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    for path in (tmp_path / "a", tmp_path / "deep" / "b"):
        path.write_bytes(os.urandom(1_500_000))
    assert status.size_of(tmp_path) == "3.0 MB"
    monkeypatch.setattr(status, "COUNT_S", -1.0)
    assert status.size_of(tmp_path) == "over 0.0 MB"
    assert [status.duration(s) for s in (5, 150, 9000, 200000)] == ["5 s", "2 min", "2 h", "2 days"]
    assert status.local_time(time.time()) == datetime.now().strftime("%d %b %H:%M")
