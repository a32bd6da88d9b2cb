"""A commit is called dirty for what decides results, not for what DVC notes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.run.provenance import git_commit


def test_dvcs_own_notes_make_no_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    for name in ("dvc.lock", "params.yaml", "local/dvc.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one")
    for command in (
        ["init", "-q"], ["add", "--all"],
        ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "one"],
    ):  # fmt: skip
        subprocess.run(["git", *command], check=True)
    commit = git_commit()
    assert commit is not None and len(commit) == 40
    for name in ("dvc.lock", "local/dvc.lock"):
        (tmp_path / name).write_text("two")
    assert git_commit() == commit
    (tmp_path / "params.yaml").write_text("two")
    assert git_commit() == f"{commit}-dirty"
