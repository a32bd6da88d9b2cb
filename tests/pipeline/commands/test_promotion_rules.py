"""What promotion decides and asks of git, gto and DVC, step by step in this process; test_promote.py has the real tools."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.exceptions import DvcException

from pipeline.commands import promote as promotion
from pipeline.commands.promote import Decision, PromoteParams
from pipeline.metrics import Metrics, parse_metrics
from pipeline.run import champions
from pipeline.run.champions import Assignment
from pipeline.run.settings import StageError

ANY = PromoteParams(stage="champion", least_gain_mm=0.0, guards={}, least_images=1, least_train_clips=0)
BY_A_TENTH = ANY.model_copy(update={"least_gain_mm": 0.125})


def document(median: float, mean_head: float = 1.5, benchmark: str = "a" * 64) -> dict[str, Any]:
    """A metrics.json."""

    def errors(median_mm: float) -> dict[str, dict[str, float]]:
        overall = {"median_mm": median_mm, "mean_mm": 9.0, "std_mm": 8.0, "images": 4, "vertices": 100}
        return {"overall": overall, "selfie": {**overall, "median_mm": 0.01}}

    return {
        "benchmark": {"folder": "data/benchmark", "sha256": benchmark, "num_images": 4},
        "model": errors(median),
        "mean_head": errors(mean_head),
    }


def metrics(median: float, **other: Any) -> Metrics:
    return parse_metrics(json.dumps(document(median, **other)).encode(), "here")


def against_champion(ours: dict[str, Any], theirs: dict[str, Any], params: PromoteParams) -> Decision:
    candidate = parse_metrics(json.dumps(ours).encode(), "here")
    return promotion._beats_champion(candidate, ours, "v0.0.7", theirs, params)


@pytest.mark.parametrize(("median", "params", "is_promoted"), [
    (1.25, ANY, True), (1.5, ANY, False), (1.75, ANY, False),
    (1.25, BY_A_TENTH, True), (1.375, BY_A_TENTH, False), (1.4375, BY_A_TENTH, False),
])  # fmt: skip
def test_a_first_version_beats_the_mean_head_by_more_than_the_gain(
    median: float, params: PromoteParams, is_promoted: bool
) -> None:
    decision = promotion._beats_mean_head(metrics(median), params)
    won = f"first version; median {median:.3f} mm, mean head 1.500 mm"
    lost = f"no champion yet, and the median {median:.3f} mm does not beat the mean head's 1.500 mm"
    assert decision == Decision(is_promoted, won if is_promoted else lost)


@pytest.mark.parametrize(("median", "params", "is_promoted"), [
    (1.125, ANY, True), (1.25, ANY, False), (1.375, ANY, False),
    (1.0, BY_A_TENTH, True), (1.125, BY_A_TENTH, False), (1.1875, BY_A_TENTH, False),
])  # fmt: skip
def test_a_next_version_beats_the_champion_by_more_than_the_gain(
    median: float, params: PromoteParams, is_promoted: bool
) -> None:
    decision = against_champion(document(median), document(1.25), params)
    margin = " by the 0.125 mm asked for" if params.least_gain_mm else ""
    won = f"median {median:.3f} mm, champion v0.0.7 1.250 mm"
    lost = f"median {median:.3f} mm does not beat the champion v0.0.7's 1.250 mm{margin}"
    assert decision == Decision(is_promoted, won if is_promoted else lost)


def test_figures_of_two_benchmarks_are_not_compared() -> None:
    other = document(1.25, benchmark="0123456789abcdef" + "b" * 48)
    assert against_champion(document(0.1), other, ANY) == Decision(
        False,
        "measured on another benchmark (aaaaaaaaaaaa) than the champion v0.0.7 (0123456789ab), "
        "so the figures cannot be compared; measure that one too: sheap evaluate-registered v0.0.7",
    )


@pytest.mark.parametrize(("own", "is_promoted"), [(1.5, True), (1.625, True), (1.75, False)])
def test_a_guard_may_worsen_by_what_it_allows(own: float, is_promoted: bool) -> None:
    guarded = ANY.model_copy(update={"guards": {"mean_head.overall.mean_mm": 0.125}})
    ours, theirs = document(1.0), document(1.25)
    ours["mean_head"]["overall"]["mean_mm"], theirs["mean_head"]["overall"]["mean_mm"] = own, 1.5
    won = "median 1.000 mm, champion v0.0.7 1.250 mm"
    lost = (
        "median 1.000 mm beats the champion v0.0.7's 1.250 mm, but mean_head.overall.mean_mm rises from 1.5 to 1.75, "
        "more than promote.guards allows (0.125)"
    )
    assert against_champion(ours, theirs, guarded) == Decision(is_promoted, won if is_promoted else lost)


@pytest.mark.parametrize("name", ["model.overall.nothing", "model.overall", "model.overall.median_mm.deeper"])
def test_a_guard_that_names_no_figure_is_an_error(name: str) -> None:
    with pytest.raises(StageError) as raised:
        against_champion(document(1.0), document(1.25), ANY.model_copy(update={"guards": {name: 0.1}}))
    expected = f"params.yaml: promote.guards: the candidate has no figure '{name}' in its metrics.json"
    assert str(raised.value) == expected


@pytest.mark.parametrize(("images", "clips", "reason"), [
    (4, 7, None), (5, 7, "measured on 4 images, fewer than promote.least_images (5)"),
    (4, 8, "trained on 7 clips, fewer than promote.least_train_clips (8)"), (4, 0, None),
])  # fmt: skip
def test_too_little_data_is_said(
    images: int, clips: int, reason: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if clips:
        promotion.BUNDLE_DIR.mkdir(parents=True)
        (promotion.BUNDLE_DIR / "provenance.json").write_text('{"training": {"train_clips": 7}}')
    asked = ANY.model_copy(update={"least_images": images, "least_train_clips": clips})
    assert promotion._lacks_data(metrics(1.0), asked) == reason


class Gto:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def register(self, *arguments: Any) -> Any:
        self.calls.append(("register", *arguments))
        return SimpleNamespace(version="v0.0.9")


def use(monkeypatch: pytest.MonkeyPatch, answers: dict[tuple[str, ...], str | None]) -> None:
    """Answers git's questions, wherever they are asked."""
    for module in (promotion, champions):
        monkeypatch.setattr(module, "git", lambda *arguments: answers[arguments])


@pytest.mark.parametrize(("tags", "version", "registers"), [
    (None, "v0.0.9", True), ("", "v0.0.9", True), ("other@v1.0.0\nsheap#champion#2", "v0.0.9", True),
    ("sheap@v0.0.4!", "v0.0.9", True), ("sheap@v0.0.4\nsheap@v0.0.5\nsheap#champion#1", "v0.0.5", False),
])  # fmt: skip
def test_a_commit_has_one_version(
    tags: str | None, version: str, registers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gto = Gto()
    monkeypatch.setattr(promotion.gto, "api", gto)
    tagged = ("tag", "--points-at", "abc123", "--sort=version:refname")
    use(monkeypatch, {("rev-parse", "HEAD"): "abc123", tagged: tags})
    assert promotion._register_version() == version
    assert gto.calls == ([("register", ".", "sheap", "abc123")] if registers else [])


def test_a_champions_figures_come_from_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def read(path: str, rev: str) -> str:
        asked.append((path, rev))
        return json.dumps(document(1.125))

    monkeypatch.setattr(promotion.dvc.api, "read", read)
    assert promotion._document_of("v0.0.3") == document(1.125)
    assert asked == [("data/registry/sheap/metrics.json", "sheap@v0.0.3")]


def test_a_champion_with_broken_figures_is_named() -> None:
    with pytest.raises(ValueError, match=r"^sheap@v0\.0\.7:metrics\.json: model: Field required"):
        against_champion(document(1.0), {"benchmark": document(1.0)["benchmark"]}, ANY)


@pytest.mark.parametrize("error", [DvcException("gone\n  away"), OSError("gone\n  away")])
def test_figures_that_are_nowhere_are_named_in_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str, rev: str) -> str:
        raise error

    monkeypatch.setattr(promotion.dvc.api, "read", read)
    with pytest.raises(StageError) as raised:
        promotion._document_of("v0.0.3")
    expected = "sheap@v0.0.3: its metrics.json is neither in the DVC cache nor on a remote (gone away)"
    assert str(raised.value) == expected


CLEAN: dict[tuple[str, ...], str | None] = {
    ("rev-parse", "--is-inside-work-tree"): "true",
    ("rev-parse", "--verify", "HEAD"): "abc123",
    ("ls-files", "--error-unmatch", "dvc.lock"): "dvc.lock",
    ("status", "--porcelain", "--untracked-files=no"): "",
}
CHANGED = " M a.py\nM  b.py\n D c d.py\n M e.py"


@pytest.mark.parametrize(("question", "answer", "message"), [
    (("rev-parse", "--is-inside-work-tree"), None,
     "promotion tags a git commit, and this folder is no git checkout: git init, then commit"),
    (("rev-parse", "--verify", "HEAD"), None,
     "promotion tags a git commit, and there is none yet: git add --all && git commit"),
    (("ls-files", "--error-unmatch", "dvc.lock"), None,
     "dvc.lock is not committed; it says which model this is: git add dvc.lock && git commit"),
    (("status", "--porcelain", "--untracked-files=no"), CHANGED,
     "uncommitted changes (a.py, b.py, c d.py): commit them first, so that the tag names what was measured"),
])  # fmt: skip
def test_what_is_not_committed_is_said_with_the_remedy(
    question: tuple[str, ...], answer: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, {**CLEAN, question: answer})
    monkeypatch.setattr(promotion, "Repo", lambda: pytest.fail("DVC is asked last"))
    with pytest.raises(StageError) as raised:
        promotion._require_committed()
    assert str(raised.value) == message


class StandInRepo:
    """A DVC repository whose registered model is, or is not, what dvc.lock says."""

    def __init__(self, differences: dict[str, Any]) -> None:
        self.differences, self.asked, self.is_closed = differences, [], False

    def __enter__(self) -> StandInRepo:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def status(self, targets: list[str]) -> dict[str, Any]:
        self.asked.append(targets)
        return self.differences


@pytest.mark.parametrize("differences", [{}, {"register": [{"changed deps": {}}]}])
def test_the_registered_model_must_be_the_locked_one(
    differences: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, CLEAN)
    repo = StandInRepo(differences)
    monkeypatch.setattr(promotion, "Repo", lambda: repo)
    if differences:
        with pytest.raises(StageError) as raised:
            promotion._require_committed()
        expected = "the registered model is not what dvc.lock says: dvc repro register, then commit dvc.lock"
        assert str(raised.value) == expected
    else:
        promotion._require_committed()
    assert repo.asked == [["register"]] and repo.is_closed


@pytest.mark.parametrize(("champion", "median", "reason"), [
    (None, 1.25, "first version; median 1.250 mm, mean head 1.500 mm"),
    ("v0.0.3", 1.0, "median 1.000 mm, champion v0.0.3 1.125 mm"),
    ("v0.0.3", 1.25, None),
])  # fmt: skip
def test_the_better_one_is_tagged(
    champion: str | None, median: float, reason: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    promotion.BUNDLE_DIR.mkdir(parents=True)
    (promotion.BUNDLE_DIR / "metrics.json").write_text(json.dumps(document(median)))
    committed: list[bool] = []
    assigned: list[Any] = []

    def assign(*arguments: Any) -> list[str]:
        assigned.append(arguments)
        return ["a tag"]

    known = [Assignment(1, champion, "2026-11-01", "first version")] if champion else []
    monkeypatch.setattr(promotion, "_require_committed", lambda: committed.append(True))
    monkeypatch.setattr(promotion, "one_at_a_time", nullcontext)
    monkeypatch.setattr(promotion, "learn_from_remote", lambda: None)
    monkeypatch.setattr(promotion, "assignments", lambda stage: {"champion": known}[stage])
    monkeypatch.setattr(promotion, "_document_of", lambda version: document({"v0.0.3": 1.125}[version]))
    monkeypatch.setattr(promotion, "_register_version", lambda: "v0.0.4")
    monkeypatch.setattr(promotion, "assign", assign)
    decision = promotion.promote(ANY)
    assert committed == [True]
    if reason is None:
        assert decision == Decision(False, "median 1.250 mm does not beat the champion v0.0.3's 1.125 mm")
        assert assigned == []
    else:
        assert decision == Decision(True, f"sheap@v0.0.4 is the new champion: {reason}", ("a tag",))
        assert assigned == [("v0.0.4", "champion", reason)]


def test_a_version_that_was_left_does_not_come_back_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    promotion.BUNDLE_DIR.mkdir(parents=True)
    (promotion.BUNDLE_DIR / "metrics.json").write_text(json.dumps(document(0.5)))
    why = "rollback from v0.0.4: blinks"
    known = [Assignment(1, "v0.0.3", "", "first"), Assignment(2, "v0.0.4", "", "won"), Assignment(3, "v0.0.3", "", why)]
    for name in ("_require_committed", "learn_from_remote"):
        monkeypatch.setattr(promotion, name, lambda: None)
    monkeypatch.setattr(promotion, "one_at_a_time", nullcontext)
    monkeypatch.setattr(promotion, "assignments", lambda stage: known)
    monkeypatch.setattr(promotion, "versions_of", lambda commit: {"HEAD": ["v0.0.4"]}[commit])
    expected = f"v0.0.4 was left ({why}); to have it back: sheap rollback v0.0.4"
    assert promotion.promote(ANY) == Decision(False, expected)


def test_without_a_bundle_the_stage_that_makes_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="run the 'register' stage first"):
        promotion.promote(ANY)


@pytest.mark.parametrize(("outcome", "code", "out", "err"), [
    (Decision(True, "why"), 0, "promote: why\n", ""),
    (Decision(False, "why not"), 0, "promote: not promoted: why not\n", ""),
    (StageError("one\n thing"), 2, "", "promote: error: one thing\n"),
    (ValueError("a file"), 2, "", "promote: error: a file\n"),
    (OSError("a disk"), 2, "", "promote: error: a disk\n"),
])  # fmt: skip
def test_the_command_says_what_came_of_it(
    outcome: Decision | Exception, code: int, out: str, err: str, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = {"stage": "best", "least_gain_mm": 0.25, "guards": {"a.b": 0.5}, "least_images": 3, "least_train_clips": 2}
    Path("params.yaml").write_text(json.dumps({"promote": policy}))

    def promote(params: PromoteParams, *, measure: bool) -> Decision:
        assert params == PromoteParams(**policy) and not measure
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(promotion, "promote", promote)
    assert promotion.main() == code
    assert capsys.readouterr() == (out, err)
    noted = Path(".sheap/promotion.json")
    if isinstance(outcome, Decision):
        assert json.loads(noted.read_text())["reason"] == outcome.reason
    else:
        assert not noted.exists()


def test_git_answers_or_fails_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert champions.git("rev-parse", "--is-inside-work-tree") is None
    assert champions.git("init", "-q", "-b", "main") == ""
    assert champions.git("rev-parse", "--is-inside-work-tree") == "true"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert champions.git("rev-parse", "--is-inside-work-tree") is None
