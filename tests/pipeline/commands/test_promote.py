"""Promotion on a real git + DVC + gto repository with a stand-in register stage."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.own_corpus import use_corpus
from pipeline.commands import own_corpus
from pipeline.commands.promote import Decision, PromoteParams, promote
from pipeline.run.settings import StageError
from tests.stage_settings import stage_params

REGISTER = """
import json, pathlib, yaml
p = yaml.safe_load(open("params.yaml"))["register"]
def errors(median):
    return {"overall": {"median_mm": median, "mean_mm": 2.0, "std_mm": 1.0, "images": 4, "vertices": 100}}
folder = pathlib.Path("data/registry/sheap"); folder.mkdir(parents=True, exist_ok=True)
document = {"benchmark": {"folder": "data/benchmark", "sha256": p["benchmark"], "num_images": 4},
            "model": errors(p["median"]), "mean_head": errors(p["mean_head"])}
(folder / "metrics.json").write_text(json.dumps(document))
"""
DVC_YAML = """
stages:
  register:
    cmd: "{python} register.py"
    params: [register]
    outs: [data/registry/sheap]
artifacts:
  sheap: {path: data/registry/sheap, type: model}
"""


def call(repo: Path, *command: str) -> str:
    return subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True).stdout


def measure(repo: Path, median: float, mean_head: float = 1.5, benchmark: str = "a" * 64) -> None:
    """Registers a model with these figures; does not commit."""
    section = {"median": median, "mean_head": mean_head, "benchmark": benchmark}
    (repo / "params.yaml").write_text(json.dumps({"register": section}))
    with contextlib.chdir(repo), Repo() as dvc_repo:
        dvc_repo.reproduce()


def commit(repo: Path) -> None:
    call(repo, "git", "add", "--all")
    call(repo, "git", "commit", "-q", "-m", "A model")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("promotion") / "repo"
    repo.mkdir()
    call(repo, "git", "init", "-q", "-b", "main")
    call(repo, "git", "config", "user.name", "A Person")
    call(repo, "git", "config", "user.email", "person@example.org")
    call(repo, sys.executable, "-m", "dvc", "init", "-q")
    for name in ("core.analytics", "core.check_update"):
        call(repo, sys.executable, "-m", "dvc", "config", name, "false")
    (repo / "register.py").write_text(REGISTER)
    (repo / "dvc.yaml").write_text(DVC_YAML.replace("{python}", sys.executable))
    (repo / ".gitignore").write_text("/data/\n")
    measure(repo, 1.2)
    return repo


@pytest.fixture
def repo(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    call(template, "cp", "-a", str(template), str(tmp_path / "repo"))
    monkeypatch.chdir(tmp_path / "repo")
    return tmp_path / "repo"


def tags(repo: Path) -> list[str]:
    return call(repo, "git", "tag").split()


def test_champions_follow_one_another_only_when_better_on_the_same_benchmark(repo: Path) -> None:
    commit(repo)
    first = promote(stage_params(PromoteParams))
    assert first.is_promoted and "mean head 1.500 mm" in first.reason
    assert tags(repo) == ["sheap#champion#1", "sheap@v0.0.1"]

    measure(repo, 1.3)
    commit(repo)
    worse = promote(stage_params(PromoteParams))
    assert worse == Decision(False, "median 1.300 mm does not beat the champion v0.0.1's 1.200 mm")
    assert tags(repo) == ["sheap#champion#1", "sheap@v0.0.1"]

    measure(repo, 1.1, benchmark="b" * 64)
    commit(repo)
    elsewhere = promote(stage_params(PromoteParams))
    assert not elsewhere.is_promoted and "another benchmark (bbbbbbbbbbbb)" in elsewhere.reason

    measure(repo, 1.1)
    commit(repo)
    demanding = promote(stage_params(PromoteParams, least_gain_mm=0.2))
    assert not demanding.is_promoted and "by the 0.2 mm asked for" in demanding.reason
    better = promote(stage_params(PromoteParams))
    assert better == Decision(True, "sheap@v0.0.2 is the new champion: median 1.100 mm, champion v0.0.1 1.200 mm")
    assert "sheap#champion#2" in tags(repo)
    got = repo.parent / "champion"
    call(repo, sys.executable, "-m", "dvc", "artifacts", "get", ".", "sheap", "--stage", "champion", "-o", str(got))
    assert json.loads((got / "metrics.json").read_text())["model"]["overall"]["median_mm"] == 1.1


def test_a_first_version_must_beat_the_mean_head(repo: Path) -> None:
    measure(repo, 1.6)
    commit(repo)
    decision = promote(stage_params(PromoteParams))
    assert not decision.is_promoted and "1.600 mm does not beat the mean head's 1.500 mm" in decision.reason
    assert tags(repo) == []


def test_the_same_commit_is_not_promoted_over_itself(repo: Path) -> None:
    commit(repo)
    assert promote(stage_params(PromoteParams)).is_promoted
    again = promote(stage_params(PromoteParams))
    assert not again.is_promoted and tags(repo) == ["sheap#champion#1", "sheap@v0.0.1"]


def test_an_own_corpus_is_no_uncommitted_change(repo: Path, tmp_path: Path) -> None:
    commit(repo)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/talk.mp4").write_bytes(b"x")
    use_corpus(tmp_path / "videos", repo)
    assert own_corpus.main([str(tmp_path / "videos")]) == 0
    assert promote(stage_params(PromoteParams)).is_promoted


def test_without_a_commit_or_with_changes_it_says_what_to_do(repo: Path) -> None:
    with pytest.raises(StageError, match="there is none yet"):
        promote(stage_params(PromoteParams))
    commit(repo)
    measure(repo, 1.0)
    with pytest.raises(StageError, match=r"uncommitted changes \(.*params.yaml.*commit them first"):
        promote(stage_params(PromoteParams))
    call(repo, "git", "rm", "-q", "--cached", "dvc.lock")
    with pytest.raises(StageError, match=r"dvc\.lock is not committed"):
        promote(stage_params(PromoteParams))


def test_outside_of_git_and_without_a_bundle(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(repo)
    (repo / "data/registry/sheap/metrics.json").unlink()
    with pytest.raises(StageError, match="run the 'register' stage first"):
        promote(stage_params(PromoteParams))
    bare = tmp_path / "bare"
    call(tmp_path, "cp", "-a", str(repo), str(bare))
    call(tmp_path, "rm", "-rf", str(bare / ".git"))
    (bare / "data/registry/sheap/metrics.json").write_text(
        json.dumps(
            {
                "benchmark": {"folder": "x", "sha256": "a", "num_images": 1},
                "model": {"overall": {"median_mm": 1, "mean_mm": 1, "std_mm": 1, "images": 1, "vertices": 1}},
                "mean_head": {"overall": {"median_mm": 1, "mean_mm": 1, "std_mm": 1, "images": 1, "vertices": 1}},
            }
        )
    )
    monkeypatch.chdir(bare)
    with pytest.raises(StageError, match="no git checkout"):
        promote(stage_params(PromoteParams))


def test_a_champion_whose_figures_are_gone_is_named(repo: Path) -> None:
    commit(repo)
    assert promote(stage_params(PromoteParams)).is_promoted
    measure(repo, 1.0)
    commit(repo)
    with Repo() as dvc_repo:
        dvc_repo.gc(workspace=True, force=True)
    with pytest.raises(StageError, match=r"sheap@v0\.0\.1: its metrics\.json is neither in the DVC cache"):
        promote(stage_params(PromoteParams))


def test_the_command_line_says_what_was_decided(repo: Path) -> None:
    commit(repo)
    asked = subprocess.run([sys.executable, "-m", "pipeline.commands.cli", "promote"], capture_output=True, text=True)
    assert asked.returncode == 2 and "section 'promote' is missing" in asked.stderr
    with (repo / "params.yaml").open() as file:
        params = json.load(file)
    (repo / "params.yaml").write_text(json.dumps({**params, "promote": {"stage": "champion", "least_gain_mm": 0.1}}))
    commit(repo)
    asked = subprocess.run([sys.executable, "-m", "pipeline.commands.cli", "promote"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("promote: sheap@v0.0.1 is the new champion: first version; median 1.200 mm")
