"""What promotion decides and asks of git, gto and DVC, step by step in this process; test_promote.py has the real tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.exceptions import DvcException
from gto.exceptions import ArtifactNotFound

from pipeline.commands import promote as promotion
from pipeline.commands.promote import Decision, PromoteParams
from pipeline.metrics import Metrics, parse_metrics
from pipeline.run.settings import StageError

ANY = PromoteParams(stage="champion", least_gain_mm=0.0)
BY_A_TENTH = PromoteParams(stage="champion", least_gain_mm=0.125)


def metrics(median: float, mean_head: float = 1.5, benchmark: str = "a" * 64) -> Metrics:
    def errors(median_mm: float) -> dict[str, dict[str, float]]:
        overall = {"median_mm": median_mm, "mean_mm": 9.0, "std_mm": 8.0, "images": 4, "vertices": 100}
        return {"overall": overall, "selfie": {**overall, "median_mm": 0.01}}

    document = {
        "benchmark": {"folder": "data/benchmark", "sha256": benchmark, "num_images": 4},
        "model": errors(median),
        "mean_head": errors(mean_head),
    }
    return parse_metrics(json.dumps(document).encode(), "here")


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
    decision = promotion._beats_champion(metrics(median), "v0.0.7", metrics(1.25), params)
    margin = " by the 0.125 mm asked for" if params.least_gain_mm else ""
    won = f"median {median:.3f} mm, champion v0.0.7 1.250 mm"
    lost = f"median {median:.3f} mm does not beat the champion v0.0.7's 1.250 mm{margin}"
    assert decision == Decision(is_promoted, won if is_promoted else lost)


def test_figures_of_two_benchmarks_are_not_compared() -> None:
    other = metrics(1.25, benchmark="0123456789abcdef" + "b" * 48)
    assert promotion._beats_champion(metrics(0.1), "v0.0.7", other, ANY) == Decision(
        False,
        "measured on another benchmark (aaaaaaaaaaaa) than the champion v0.0.7 (0123456789ab): "
        "the figures cannot be compared; evaluate both on one",
    )


class Gto:
    """Notes what it is asked for."""

    def __init__(self, found: list[Any] | Exception) -> None:
        self.found, self.calls = found, []

    def find_versions_in_stage(self, *arguments: Any) -> list[Any]:
        self.calls.append(("find", *arguments))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def register(self, *arguments: Any) -> Any:
        self.calls.append(("register", *arguments))
        return SimpleNamespace(version="v0.0.9")

    def assign(self, *arguments: Any, **named: Any) -> None:
        self.calls.append(("assign", *arguments, named))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Puts stand-ins in the place of git, gto and DVC."""

    def put(*, git: dict[tuple[str, ...], str | None] | None = None, gto: Gto | None = None) -> None:
        if git is not None:
            monkeypatch.setattr(promotion, "_git", lambda *arguments: git[arguments])
        if gto is not None:
            monkeypatch.setattr(promotion.gto, "api", gto)

    return put


@pytest.mark.parametrize(("found", "champion"), [
    ([SimpleNamespace(version="v0.0.3"), SimpleNamespace(version="v0.0.1")], "v0.0.3"),
    ([], None), (None, None), (ArtifactNotFound("sheap"), None),
])  # fmt: skip
def test_the_champion_is_who_holds_the_stage_now(found: Any, champion: str | None, use: Callable[..., Any]) -> None:
    gto = Gto(found)
    use(gto=gto)
    assert promotion._champion("best") == champion
    assert gto.calls == [("find", ".", "sheap", "best")]


@pytest.mark.parametrize(("tags", "version", "registers"), [
    (None, "v0.0.9", True), ("", "v0.0.9", True), ("other@v1.0.0\nsheap#champion#2", "v0.0.9", True),
    ("sheap@v0.0.4!", "v0.0.9", True), ("sheap@v0.0.4\nsheap@v0.0.5\nsheap#champion#1", "v0.0.5", False),
])  # fmt: skip
def test_a_commit_has_one_version(tags: str | None, version: str, registers: bool, use: Callable[..., Any]) -> None:
    gto = Gto([])
    use(gto=gto, git={("rev-parse", "HEAD"): "abc123", ("tag", "--points-at", "HEAD"): tags})
    assert promotion._register_version() == version
    assert gto.calls == ([("register", ".", "sheap", "abc123")] if registers else [])


def test_a_champions_figures_come_from_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def read(path: str, rev: str) -> str:
        asked.append((path, rev))
        return metrics(1.125).model_dump_json()

    monkeypatch.setattr(promotion.dvc.api, "read", read)
    assert promotion._metrics_of("v0.0.3") == metrics(1.125)
    assert asked == [("data/registry/sheap/metrics.json", "sheap@v0.0.3")]
    monkeypatch.setattr(promotion.dvc.api, "read", lambda path, rev: "{}")
    with pytest.raises(ValueError, match=r"^sheap@v0\.0\.3:data/registry/sheap/metrics\.json: benchmark: Field required"):
        promotion._metrics_of("v0.0.3")


@pytest.mark.parametrize("error", [DvcException("gone\n  away"), OSError("gone\n  away")])
def test_figures_that_are_nowhere_are_named_in_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str, rev: str) -> str:
        raise error

    monkeypatch.setattr(promotion.dvc.api, "read", read)
    with pytest.raises(StageError) as raised:
        promotion._metrics_of("v0.0.3")
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
    question: tuple[str, ...], answer: str | None, message: str, use: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(git={**CLEAN, question: answer})
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
    differences: dict[str, Any], use: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(git=CLEAN)
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
    champion: str | None, median: float, reason: str | None, use: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    bundle = Path("data/registry/sheap")
    bundle.mkdir(parents=True)
    (bundle / "metrics.json").write_text(metrics(median).model_dump_json())
    gto = Gto([SimpleNamespace(version=champion)] if champion else [])
    use(gto=gto)
    committed: list[bool] = []
    monkeypatch.setattr(promotion, "_require_committed", lambda: committed.append(True))
    monkeypatch.setattr(promotion, "_metrics_of", lambda version: metrics({"v0.0.3": 1.125}[version]))
    monkeypatch.setattr(promotion, "_register_version", lambda: "v0.0.4")
    decision = promotion.promote(ANY)
    assert committed == [True]
    assigned = [call for call in gto.calls if call[0] == "assign"]
    if reason is None:
        assert decision == Decision(False, "median 1.250 mm does not beat the champion v0.0.3's 1.125 mm")
        assert assigned == []
    else:
        assert decision == Decision(True, f"sheap@v0.0.4 is the new champion: {reason}")
        assert assigned == [("assign", ".", "sheap", "champion", {"version": "v0.0.4", "message": reason})]


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
    Path("params.yaml").write_text("promote: {stage: best, least_gain_mm: 0.25}\n")

    def promote(params: PromoteParams) -> Decision:
        assert params == PromoteParams(stage="best", least_gain_mm=0.25)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(promotion, "promote", promote)
    assert promotion.main() == code
    assert capsys.readouterr() == (out, err)


def test_git_answers_or_fails_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert promotion._git("rev-parse", "--is-inside-work-tree") is None
    assert promotion._git("init", "-q", "-b", "main") == ""
    assert promotion._git("rev-parse", "--is-inside-work-tree") == "true"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert promotion._git("rev-parse", "--is-inside-work-tree") is None
