"""Retraining ends in a decision, in a checkout of its own; what the project has and serves stays until then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from flows.commands import environment_with_this_python
from flows.retrain import retrain_on_new_corpus
from tests.flows.stand_in_project import add_commands, call
from tests.flows.test_train_sheap import set_in_params


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "interviews"
    folder.mkdir()
    (folder / "one.mp4").write_bytes(b"x")
    return folder


@pytest.fixture
def trained_project(git_project: Path) -> Path:
    """A project whose stages have run, with a remote."""
    command = [sys.executable, "-m", "dvc", "repro", "-q"]
    done = subprocess.run(command, env=environment_with_this_python(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    add_commands(git_project)
    call(git_project, "git", "add", "--all")
    call(git_project, "git", "commit", "-q", "-m", "Trained")
    call(git_project, "git", "clone", "-q", "--bare", str(git_project), str(git_project.parent / "remote.git"))
    call(git_project, "git", "remote", "add", "origin", str(git_project.parent / "remote.git"))
    return git_project


def retrain(**parameters: object):
    return retrain_on_new_corpus(**parameters, return_state=True)


def commits(project: Path, reference: str) -> str:
    return call(project, "git", "rev-parse", reference).strip()


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
    return next(artifact.data for artifact in artifacts if artifact.key == key)


def test_a_better_model_moves_the_branch_and_what_is_served_stays(
    trained_project: Path, videos: Path, prefect_server: None
) -> None:
    project, before = trained_project, commits(trained_project, "HEAD")
    served = {path.name: path.read_bytes() for path in (project / "data").iterdir()}
    state = retrain(corpus=str(videos), licence="CC0-1.0", params={"train.value": 7})
    assert state.is_completed() and state.name == "Completed", state.message
    assert state.message.startswith("so it was decided; main has moved to it")
    assert commits(project, "HEAD~1") == before and call(project, "git", "status", "--porcelain") == ""
    now = yaml.safe_load((project / "params.yaml").read_text())
    assert now["train"]["value"] == 7 and now["corpus"]["further"] == [{"folder": str(videos)}]
    assert {path.name: path.read_bytes() for path in (project / "data").iterdir()} == served, "until dvc checkout"
    assert commits(project.parent / "remote.git", "main") == commits(project, "HEAD"), "it was pushed"
    assert "A new champion" in artifact("sheap-decision") and "train.value" in artifact("sheap-params")
    assert not list((project / ".sheap/runs").iterdir())
    dvc = subprocess.run([sys.executable, "-m", "dvc", "checkout"], cwd=project, capture_output=True, text=True)
    assert dvc.returncode == 0 and (project / "data/train.txt").read_text() == "7"


def test_a_worse_one_stays_on_its_branch_and_the_champion_where_it_is(
    trained_project: Path, videos: Path, prefect_server: None
) -> None:
    set_in_params(trained_project, "promoted: true", "promoted: false")
    call(trained_project, "git", "commit", "-q", "-a", "-m", "A strict policy")
    before = commits(trained_project, "HEAD")
    state = retrain(corpus=str(videos))
    assert state.is_completed() and state.name == "ChampionKept"
    branch = state.message.rpartition(" ")[2]
    assert commits(trained_project, "HEAD") == before == commits(trained_project, f"{branch}~1")
    assert str(videos) in call(trained_project, "git", "show", f"{branch}:params.yaml")
    assert commits(trained_project.parent / "remote.git", branch) == commits(trained_project, branch)
    assert artifact("sheap-decision").startswith("**The champion stays.** so it was decided")


def test_a_failed_retraining_leaves_everything_and_goes_on_where_it_stopped(
    trained_project: Path, videos: Path, prefect_server: None
) -> None:
    served = {path.name: path.read_bytes() for path in (trained_project / "data").iterdir()}
    set_in_params(trained_project, "report: {value: 3}", "report: {value: 3, mistake: null}")
    call(trained_project, "git", "commit", "-q", "-a", "-m", "A mistake to make")
    state = retrain(corpus=str(videos), params={"report.mistake": "no paper"})
    assert state.is_failed() and state.message == "report: error: no paper"
    assert {path.name: path.read_bytes() for path in (trained_project / "data").iterdir()} == served
    assert call(trained_project, "git", "status", "--porcelain") == ""
    [left] = (trained_project / ".sheap/runs").iterdir()
    log = (left / "ran_commands.log").read_text().splitlines()
    assert log == ["corpus list", f"corpus add --licence not stated --origin not stated --consent not stated -- {videos}"]


@pytest.mark.parametrize("empty", ["", " "])
def test_an_event_without_a_folder_fails_and_says_what_was_missing(
    trained_project: Path, prefect_server: None, empty: str
) -> None:
    state = retrain(corpus=empty)
    assert state.is_failed() and "payload={'folder': '/path/to/videos'}" in state.message
