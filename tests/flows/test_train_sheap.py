"""The flow on a stand-in project: success, one-line failures, retries and going on where a failed run stopped."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from flows.commands import environment_with_this_python
from flows.train_sheap import checked_corpus, one_line_error, train_sheap
from pipeline.run.settings import StageError
from tests.flows.stand_in_project import REPOSITORY, call, times_run


def set_in_params(project: Path, old: str, new: str) -> None:
    text = (project / "params.yaml").read_text()
    assert old in text
    (project / "params.yaml").write_text(text.replace(old, new))


@pytest.fixture
def run(project: Path, prefect_server: None):
    return lambda corpus=None, params=None: train_sheap(corpus, params, return_state=True)


def test_all_stages_run_in_order_and_dvc_then_has_nothing_to_do(project: Path, run) -> None:
    state = run()
    assert state.is_completed(), state.message
    assert [(project / f"data/{name}.txt").read_text() for name in ("corpus", "train", "report")] == ["1", "2", "3"]
    dvc = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=project, capture_output=True, text=True, check=True
    )
    assert "up to date" in dvc.stdout

    set_in_params(project, "report: {value: 3}", "report: {value: 4}")
    assert run().is_completed()
    assert [times_run(project, name) for name in ("corpus", "train", "report")] == [1, 1, 2]


def test_a_users_mistake_ends_in_the_stages_line_without_retry_and_a_rerun_goes_on(project: Path, run, capfd) -> None:
    set_in_params(project, "  crashes: 0", "  mistake: 'params.yaml: train.steps must be positive'")
    state = run()
    assert state.is_failed()
    assert state.message == "train: error: params.yaml: train.steps must be positive"
    assert [times_run(project, name) for name in ("corpus", "train", "report")] == [1, 1, 0]
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err

    set_in_params(project, "  mistake: 'params.yaml: train.steps must be positive'", "  crashes: 0")
    assert run().is_completed()
    assert [times_run(project, name) for name in ("corpus", "train", "report")] == [1, 2, 1]


def test_a_crash_is_tried_again_as_often_as_params_say(project: Path, run) -> None:
    set_in_params(project, "crashes: 0", "crashes: 1")
    assert run().is_completed()
    assert times_run(project, "train") == 2
    set_in_params(project, "crashes: 1", "crashes: 9")
    state = run()
    assert state.message == "train: failed: RuntimeError: crash 4"
    assert times_run(project, "train") == 4


def test_an_own_corpus_changes_no_committed_file_and_plain_dvc_sees_the_same(
    project: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    other = tmp_path / "my videos"
    other.mkdir()
    (other / "interview.MOV").write_bytes(b"x")
    committed = {name: (project / name).read_bytes() for name in ("params.yaml", "dvc.yaml", "local/README.md")}
    state = run(str(other))
    assert state.is_completed(), state.message
    assert {name: (project / name).read_bytes() for name in committed} == committed
    read = json.loads((project / "read_corpus.json").read_text())
    assert read["folder"] == str(other) and read["carphone"] is False and read["value"] == 1
    assert "Data and pipelines are up to date." in dvc_repro(project)
    assert run().is_completed() and times_run(project, "corpus") == 1, "without a corpus named it stays"

    (other / "another.MOV").write_bytes(b"y")
    dvc_repro(project)
    assert [times_run(project, name) for name in ("corpus", "train")] == [2, 1], "DVC watches the folder"

    for name in ("dvc.yaml", "dvc.lock", "corpus.yaml"):
        (project / "local" / name).unlink()
    assert run().is_completed()
    assert json.loads((project / "read_corpus.json").read_text())["folder"] == "videos"


def dvc_repro(project: Path) -> str:
    command = [sys.executable, "-m", "dvc", "repro"]
    environment = environment_with_this_python()
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bad_corpus_stops_the_flow_before_anything_changes(project: Path, run, tmp_path: Path) -> None:
    before = (project / "params.yaml").read_text()
    state = run(str(tmp_path / "nowhere"))
    assert state.is_failed()
    assert state.message == f"corpus: {tmp_path / 'nowhere'}: no such folder"
    assert (project / "params.yaml").read_text() == before and not (project / "local/dvc.yaml").exists()
    assert times_run(project, "corpus") == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("retries: {train: 1}", "retries: {tarin: 1}", "params.yaml: 'flow.retries' names no stage of dvc.yaml: tarin"),
        ("retry_delay_s", "retry_delay", "unknown key 'flow.retry_delay'"),
    ],
)
def test_a_bad_flow_section_is_named(project: Path, run, old: str, new: str, message: str) -> None:
    set_in_params(project, old, new)
    state = run()
    assert state.is_failed() and message in state.message
    assert times_run(project, "corpus") == 0


def test_checked_corpus_refuses_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StageError, match="not a folder"):
        checked_corpus(tmp_path / "notes.txt")
    (tmp_path / "deep").mkdir()
    assert checked_corpus(f"{tmp_path}/deep/../deep") == tmp_path / "deep", "no .. in the settings"


def test_a_corpus_without_videos_ends_the_flow_before_any_stage(
    project: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    other = tmp_path / "notes"
    other.mkdir()
    (other / "notes.txt").write_text("x")
    state = run(str(other))
    assert state.is_failed() and state.message.startswith(f"videos: error: {other}: holds no video (looked for .avi")
    assert times_run(project, "corpus") == 0
    (other / "deep").mkdir()
    (other / "deep/talk.MKV").write_bytes(b"x")
    assert run(str(other)).is_completed(), "found in subfolders"


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_corpus_is_none_and_not_the_whole_project(project: Path, run, empty: str) -> None:
    state = run(empty)
    assert state.is_failed() and state.message.startswith("corpus: empty") and "payload={'folder': " in state.message
    assert times_run(project, "corpus") == 0 and not (project / "local/dvc.yaml").exists()


def test_settings_of_one_run_change_no_file_and_are_those_that_dvc_knows(git_project: Path, run) -> None:
    assert run().is_completed()
    files = {name: (git_project / name).read_bytes() for name in ("params.yaml", "dvc.lock", "data/train.txt")}
    state = run(params={"train.value": 7})
    assert state.is_completed(), state.message
    assert {name: (git_project / name).read_bytes() for name in files} == files, "the project's own files are in use"

    branch = re.search(r"branch (\S+)", state.message)[1]
    assert call(git_project, "git", "diff", "--name-only", "main", branch).split() == ["dvc.lock", "params.yaml"]
    changed = call(git_project, "git", "diff", "--unified=0", "main", branch, "--", "params.yaml").splitlines()[4:]
    assert [line for line in changed if line[0] in "+-"] == ["-  value: 2", "+  value: 7"]
    assert not list((git_project / ".sheap/runs").iterdir()) and ".sheap/runs" not in call(git_project, "git", "worktree", "list")
    assert recorded_params()["train.value"] == "7"

    set_in_params(git_project, "  value: 2", "  value: 7")
    dvc_repro(git_project)
    assert [times_run(git_project, name) for name in ("corpus", "train", "report")] == [1, 1, 1], "by hand: the same hashes"
    assert (git_project / "dvc.lock").read_text() == call(git_project, "git", "show", f"{branch}:dvc.lock")
    assert (git_project / "data/train.txt").read_text() == "7"


def recorded_params() -> dict[str, str]:
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
    table = next(json.loads(artifact.data) for artifact in artifacts if artifact.key == "sheap-params")
    return {row["setting"]: row["value"] for row in table}


def test_a_run_with_settings_that_failed_goes_on_in_its_checkout(git_project: Path, run) -> None:
    params = {"train.value": 7, "report.value": 8}
    set_in_params(git_project, "report: {value: 3}", "report: {value: 3, mistake: null}")
    call(git_project, "git", "commit", "-q", "-a", "-m", "A mistake to make")
    state = run(params=params | {"report.mistake": "no paper"})
    assert state.is_failed() and state.message == "report: error: no paper"
    [left] = (git_project / ".sheap/runs").iterdir()
    assert [times_run(left, name) for name in ("corpus", "train", "report")] == [1, 1, 1]
    assert run(params=params | {"report.mistake": "no paper"}).is_failed()
    assert [times_run(left, name) for name in ("corpus", "train", "report")] == [1, 1, 2]
    assert run(params=params).is_completed(), "another run, which finds the same work done"


def test_settings_that_do_not_exist_or_need_git_are_refused(git_project: Path, run) -> None:
    state = run(params={"train.vlaue": 7})
    assert state.is_failed() and state.message == "params: params.yaml has no setting 'train.vlaue'"
    assert times_run(git_project, "corpus") == 0
    shutil.rmtree(git_project / ".git")
    state = run(params={"train.value": 7})
    assert state.is_failed() and state.message.startswith("settings of one run need a commit to start from: ")


def test_one_line_error_when_dvc_itself_refuses() -> None:
    message, is_mistake = one_line_error("ingest", ["ERROR: missing data 'source': data/corpus"], 255)
    assert message == "ingest: error: missing data 'source': data/corpus" and is_mistake
    killed = ["ERROR: failed to reproduce 'train': failed to run: python -m pipeline.train, exited with -9"]
    message, is_mistake = one_line_error("train", killed, 255)
    assert re.search("exited with -9", message) and not is_mistake
    assert not one_line_error("train", [], -9)[1]
