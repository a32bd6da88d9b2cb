"""A commit is called dirty for what decides results, not for what is written of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.machine import ROOT, commit
from pipeline.run.provenance import git_commit


def test_notes_and_pages_of_results_make_no_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    for name in ("dvc.lock", "params.yaml", "local/dvc.lock", "docs/results/page.md", "src/docs/code.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    for command in (
        ["init", "-q"], ["add", "--all"],
        ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "one"],
    ):  # fmt: skip
        subprocess.run(["git", *command], check=True)
    known = git_commit()
    assert known is not None and len(known) == 40
    for name in ("dvc.lock", "local/dvc.lock", "docs/results/page.md"):
        (tmp_path / name).write_text("two")
    assert git_commit() == known
    for name in ("params.yaml", "src/docs/code.py"):
        (tmp_path / name).write_text("two")
        assert git_commit() == f"{known}-dirty"
        (tmp_path / name).write_text("one")


def test_a_benchmark_names_the_same_commit_in_short() -> None:
    whole = git_commit(ROOT)
    if whole is None:
        pytest.skip("not a git checkout")
    name, dash, dirty = commit().partition("-")
    assert len(name) >= 7 and whole.startswith(name) and whole.endswith(dash + dirty)
