"""A finished training is kept until DVC has recorded its model, and no longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.workers.finished_runs import (
    dvc_folder_hash,
    forget_recorded,
    note_made_model,
    read_finished,
    write_finished,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One stage, `train`, whose model DVC has recorded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: mkdir -p data/model/deep && echo 1 > data/model/a && echo 2 > data/model/deep/b\n"
        "    deps: [shards.txt]\n    outs: [data/model]\n"
    )
    (tmp_path / "shards.txt").write_text("what it was trained on")
    for arguments in (["init", "-q", "--no-scm"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True)
    return tmp_path


def made_run(checkpoints: Path, name: str, model: Path) -> Path:
    for number in range(2):
        (checkpoints / name / f"checkpoint_{number}").mkdir(parents=True)
    write_finished(checkpoints / name, {"seconds": 1.5})
    note_made_model(checkpoints / name, model)
    return checkpoints / name


def test_a_finished_run_is_noted_with_its_newest_checkpoint(tmp_path: Path) -> None:
    assert read_finished(tmp_path / "run") is None
    (tmp_path / "model").mkdir()
    run = made_run(tmp_path, "run", tmp_path / "model")
    assert read_finished(run) == {"seconds": 1.5}
    assert [path.name for path in run.glob("checkpoint_*")] == ["checkpoint_1"]


def test_only_what_dvc_has_recorded_is_forgotten(project: Path) -> None:
    model, checkpoints = project / "data/model", project / "checkpoints"
    assert f"md5: {dvc_folder_hash(model)}" in (project / "dvc.lock").read_text(), "the hash is DVC's own"
    recorded, same = made_run(checkpoints, "recorded", model), made_run(checkpoints, "same", model)
    (model / "a").unlink()
    (model / "a").write_text("another")
    unrecorded = made_run(checkpoints, "unrecorded", model)
    begun = checkpoints / "begun"
    begun.mkdir()
    forget_recorded(checkpoints, keep=same)
    assert not recorded.exists() and same.exists() and unrecorded.exists() and begun.exists()
    (project / "dvc.lock").unlink()
    forget_recorded(checkpoints, keep=begun)
    assert not same.exists() and unrecorded.exists(), "DVC's run cache knows it too"


def test_without_dvc_nothing_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    run = made_run(tmp_path / "checkpoints", "run", tmp_path / "model")
    forget_recorded(tmp_path / "checkpoints", keep=tmp_path / "checkpoints/other")
    assert run.exists()
