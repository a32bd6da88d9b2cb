"""Promotion on a real git + DVC + gto repository with a stand-in register stage."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.own_corpus import use_corpus
from pipeline.commands import own_corpus
from pipeline.commands.evaluate_registered import evaluate_registered
from pipeline.commands.promote import Decision, PromoteParams, promote, roll_back
from pipeline.run.champions import push_tags
from pipeline.run.settings import StageError
from tests.stage_settings import stage_params

REGISTER = """
import json, pathlib, yaml
p = yaml.safe_load(open("params.yaml"))["register"]
def errors(median):
    return {"overall": {"median_mm": median, "mean_mm": 2.0, "std_mm": 1.0, "images": 4, "vertices": 100}}
folder = pathlib.Path("data/registry/sheap"); folder.mkdir(parents=True, exist_ok=True)
document = {"benchmark": {"folder": "data/benchmark", "sha256": p["benchmark"], "num_images": 4},
            "model": errors(p["median"]), "mean_head": errors(p["mean_head"]), "footage": {"jitter_px": p["jitter"]}}
(folder / "metrics.json").write_text(json.dumps(document))
(folder / "provenance.json").write_text(json.dumps({"training": {"train_clips": 7}}))
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


def measure(repo: Path, median: float, mean_head: float = 1.5, benchmark: str = "a" * 64, jitter: float = 0.5) -> None:
    """Registers a model with these figures; does not commit."""
    section = {"median": median, "mean_head": mean_head, "benchmark": benchmark, "jitter": jitter}
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
    why = "sheap@v0.0.2 is the new champion: median 1.100 mm, champion v0.0.1 1.200 mm"
    assert better == Decision(True, why, ("sheap@v0.0.2", "sheap#champion#2"))
    assert "sheap#champion#2" in tags(repo)
    assert served_median(repo) == 1.1


def served_median(repo: Path) -> float:
    """What `dvc artifacts get --stage champion` brings."""
    got = repo.parent / "champion"
    shutil.rmtree(got, ignore_errors=True)
    call(repo, sys.executable, "-m", "dvc", "artifacts", "get", ".", "sheap", "--stage", "champion", "-o", str(got))
    return json.loads((got / "metrics.json").read_text())["model"]["overall"]["median_mm"]


def promoted(repo: Path, median: float, **policy: object) -> Decision:
    measure(repo, median)
    commit(repo)
    return promote(stage_params(PromoteParams, **policy))


def test_a_rollback_is_served_and_is_what_the_next_promotion_must_beat(repo: Path) -> None:
    params = stage_params(PromoteParams)
    commit(repo)
    with pytest.raises(StageError, match="there is no champion yet, so none to go back to"):
        roll_back(params, None)
    assert promote(params).is_promoted and promoted(repo, 1.1).is_promoted and promoted(repo, 1.0).is_promoted
    decision = roll_back(params, None, "it blinks")
    assert decision.reason == "sheap@v0.0.2 is the champion again (rollback from v0.0.3: it blinks)"
    assert decision.tags == ("sheap@v0.0.2", "sheap#champion#4")
    time.sleep(1.1)  # DVC orders tags by their second
    assert served_median(repo) == 1.1
    again = promote(params)
    assert not again.is_promoted and again.reason.startswith("v0.0.3 was left (rollback from v0.0.3: it blinks)"), (
        "the same model does not come back by itself"
    )
    between = promoted(repo, 1.05)
    assert between.reason == "sheap@v0.0.4 is the new champion: median 1.050 mm, champion v0.0.2 1.100 mm"
    assert roll_back(params, "v0.0.3").is_promoted and roll_back(params, None).tags[0] == "sheap@v0.0.2"
    assert roll_back(params, None).tags[0] == "sheap@v0.0.1", "one further back, not forth again"
    with pytest.raises(StageError, match=r"v0\.0\.1 is the first champion; name a version"):
        roll_back(params, None)
    with pytest.raises(StageError, match=r"v0\.0\.1 is the champion already"):
        roll_back(params, "sheap@v0.0.1")
    with pytest.raises(StageError, match=r"v9\.9\.9: no such version \(there are: v0\.0\.1, v0\.0\.2, v0\.0\.3, v0\.0\.4\)"):
        roll_back(params, "v9.9.9")


def test_guards_and_least_data_keep_the_champion(repo: Path) -> None:
    commit(repo)
    few = promote(stage_params(PromoteParams, least_images=5))
    assert few == Decision(False, "measured on 4 images, fewer than promote.least_images (5)")
    few = promote(stage_params(PromoteParams, least_train_clips=8))
    assert few == Decision(False, "trained on 7 clips, fewer than promote.least_train_clips (8)")
    assert promote(stage_params(PromoteParams, least_images=4, least_train_clips=7)).is_promoted
    measure(repo, 1.0, jitter=0.8)
    commit(repo)
    kept = promote(stage_params(PromoteParams, guards={"footage.jitter_px": 0.1}))
    assert not kept.is_promoted
    assert "but footage.jitter_px rises from 0.5 to 0.8, more than promote.guards allows (0.1)" in kept.reason
    with pytest.raises(StageError, match=r"promote\.guards: the candidate has no figure 'footage\.blur'"):
        promote(stage_params(PromoteParams, guards={"footage.blur": 0.1}))
    assert promote(stage_params(PromoteParams, guards={"footage.jitter_px": 0.4})).is_promoted


@pytest.fixture
def clones(repo: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two clones of one remote and one DVC cache, each with a better model than the champion there, v0.0.1."""
    commit(repo)
    assert promote(stage_params(PromoteParams)).is_promoted
    remote = repo.parent / "remote.git"
    call(repo.parent, "git", "clone", "-q", "--bare", str(repo), str(remote))
    made = []
    for name, median in (("first", 1.1), ("second", 1.05)):
        clone = repo.parent / name
        call(repo.parent, "git", "clone", "-q", str(remote), str(clone))
        for key, value in (("user.name", "A Person"), ("user.email", "person@example.org")):
            call(clone, "git", "config", key, value)
        call(clone, sys.executable, "-m", "dvc", "cache", "dir", "--local", str(repo / ".dvc/cache"))
        measure(clone, median)
        commit(clone)
        made.append(clone)
    return made[0], made[1]


def test_of_two_promotions_at_once_one_wins(clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = clones
    monkeypatch.chdir(second)
    late = promote(stage_params(PromoteParams))
    assert late.is_promoted, "nobody else has, as far as it can know"
    monkeypatch.chdir(first)
    early = promote(stage_params(PromoteParams))
    push_tags(list(early.tags))
    monkeypatch.chdir(second)
    with pytest.raises(StageError, match=r"'origin' did not take sheap@v0\.0\.2 and sheap#champion#2 .*rejected.*taken back"):
        push_tags(list(late.tags))
    again = promote(stage_params(PromoteParams))
    assert again.reason == "sheap@v0.0.3 is the new champion: median 1.050 mm, champion v0.0.2 1.100 mm"
    push_tags(list(again.tags))
    monkeypatch.chdir(first)
    worse = promote(stage_params(PromoteParams))
    assert worse.reason == "median 1.100 mm does not beat the champion v0.0.3's 1.050 mm", "it was fetched"


def test_tags_that_were_made_while_another_was_first_are_named(
    clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for clone in reversed(clones):
        monkeypatch.chdir(clone)
        decision = promote(stage_params(PromoteParams))
    push_tags(list(decision.tags))
    monkeypatch.chdir(clones[1])
    with pytest.raises(StageError, match=r"sheap#champion#2, sheap@v0\.0\.2 is another on 'origin': somebody promoted first"):
        promote(stage_params(PromoteParams))


def test_a_shallow_clone_meets_the_champion_or_is_refused(
    clones: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = clones[0]
    call(first, "git", "push", "-q", "origin", "HEAD:main")
    remote = first.parent / "remote.git"
    for name in ("shallow", "alone"):
        shallow = first.parent / name
        call(tmp_path, "git", "clone", "-q", "--depth=1", "--no-tags", f"file://{remote}", str(shallow))
        call(shallow, sys.executable, "-m", "dvc", "cache", "dir", "--local", str(tmp_path / "repo/.dvc/cache"))
        call(shallow, sys.executable, "-m", "dvc", "checkout", "-q")
        monkeypatch.chdir(shallow)
        if name == "alone":
            call(shallow, "git", "remote", "remove", "origin")
            with pytest.raises(StageError, match="this clone is shallow and has no remote 'origin'"):
                promote(stage_params(PromoteParams))
        else:
            demanding = promote(stage_params(PromoteParams, least_gain_mm=0.2))
            assert not demanding.is_promoted and "the champion v0.0.1's 1.200 mm" in demanding.reason
            call(shallow, "git", "remote", "set-url", "origin", str(tmp_path / "nowhere"))
            with pytest.raises(StageError, match=r"remote 'origin' does not answer \("):
                promote(stage_params(PromoteParams))


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
    policy = stage_params(PromoteParams, least_gain_mm=0.1).model_dump()
    (repo / "params.yaml").write_text(json.dumps({**params, "promote": policy}))
    commit(repo)
    asked = subprocess.run([sys.executable, "-m", "pipeline.commands.cli", "promote"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("promote: sheap@v0.0.1 is the new champion: first version; median 1.200 mm")


def test_another_benchmark_does_not_end_all_promotion(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The champion is measured again on today's benchmark, out of the registry alone."""
    commit(repo)
    assert promote(stage_params(PromoteParams)).is_promoted
    measure(repo, 1.25, benchmark="b" * 64)
    commit(repo)
    shutil.rmtree(repo / "data")
    call(repo, sys.executable, "-m", "dvc", "checkout", "-q")
    refused = promote(stage_params(PromoteParams))
    assert not refused.is_promoted and refused.reason.endswith("measure that one too: sheap evaluate-registered v0.0.1")

    def evaluate(params: object, model: Path, out: Path) -> None:
        """Of the real one: it reads the version's own files and writes figures of today's benchmark."""
        document = json.loads((model / "metrics.json").read_text())
        assert document["model"]["overall"]["median_mm"] == 1.2 and (model / "train.json").exists()
        document["benchmark"]["sha256"] = "b" * 64
        document["model"]["overall"]["median_mm"] = 1.3
        out.mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps(document))

    monkeypatch.setattr("pipeline.evaluate.evaluate_model", evaluate)
    monkeypatch.setattr("pipeline.run.settings.load_params", lambda *_: None)
    evaluate_registered("v0.0.1")
    promoted_now = promote(stage_params(PromoteParams))
    assert promoted_now.reason == "sheap@v0.0.2 is the new champion: median 1.250 mm, champion v0.0.1 1.300 mm"
    with pytest.raises(StageError, match=r"v0\.0\.7: no such version \(there are: v0\.0\.1, v0\.0\.2\)"):
        evaluate_registered("v0.0.7")
