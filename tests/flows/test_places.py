"""Where a checkout lies: odd names, no git, a folder that cannot be written; each runs, or is refused in one line at once."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands import environment_with_this_python
from flows.places import check_named_inputs, has_git, prepare_place
from flows.train_sheap import main, without_empty_traceback
from pipeline.run.settings import StageError
from tests.flows.stand_in_project import REPOSITORY

PLACES = ["with space", "with (parenthesis)", "with 'quote", 'with "quotes"', "Übung-häuser", "a&b;c", "weiß $HOME"]


def archive(template: Path, root: Path) -> Path:
    """The stand-in project as a downloaded archive: git was there when it was made, and is not now."""
    shutil.copytree(template, root)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    return root


def dvc(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env={**environment_with_this_python(), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_stages_run_in_a_folder_of_any_name_without_git(project_template: Path, tmp_path: Path, name: str) -> None:
    root = archive(project_template, tmp_path / name)
    prepare_place(root)
    done = dvc(root, "repro", LANG="C", HOME="/proc/nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "data/report.txt").read_text() == "3"


def test_without_git_dvc_refuses_until_the_place_is_prepared(project_template: Path, tmp_path: Path) -> None:
    root = archive(project_template, tmp_path / "archive")
    assert not has_git(root)
    assert "is not a git repository" in dvc(root, "status").stderr
    prepare_place(root)
    assert dvc(root, "status").returncode == 0
    before = (root / ".dvc/config.local").read_bytes()
    prepare_place(root)
    assert (root / ".dvc/config.local").read_bytes() == before


def test_a_git_checkout_is_left_as_it_is(project_template: Path, tmp_path: Path) -> None:
    root = archive(project_template, tmp_path / "checkout")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    assert has_git(root) and has_git(root / "videos")
    prepare_place(root)
    assert not (root / ".dvc/config.local").exists()


def test_what_a_user_has_set_stays(project_template: Path, tmp_path: Path) -> None:
    root = archive(project_template, tmp_path / "archive")
    (root / ".dvc/config.local").write_text("['remote \"mine\"']\n    url = /somewhere\n")
    prepare_place(root)
    text = (root / ".dvc/config.local").read_text()
    assert "url = /somewhere" in text and "no_scm = true" in text


def test_a_private_umask_is_enough(project_template: Path, tmp_path: Path) -> None:
    root = archive(project_template, tmp_path / "private")
    old = os.umask(0o077)
    try:
        prepare_place(root)
        done = dvc(root, "repro", "-s", "corpus")
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", ["null", None])
def test_an_input_that_is_not_set_is_named_before_anything_starts(tmp_path: Path, value: str | None) -> None:
    """Before, DVC ended with "unexpected error" after people, benchmark, corpus and training."""
    for name in ("dvc.yaml", "params.yaml"):
        text = (REPOSITORY / name).read_text()
        line = "  expressions_dir: data/benchmark/expressions\n"
        assert name == "dvc.yaml" or line in text
        (tmp_path / name).write_text(text.replace(line, "" if value is None else f"  expressions_dir: {value}\n"))
    with pytest.raises(StageError, match=r"evaluate\.expressions_dir is not set.*stage 'evaluate'.*dvc_file --write"):
        prepare_place(tmp_path)
    (tmp_path / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text().replace("      - ${evaluate.expressions_dir}\n", ""))
    check_named_inputs(tmp_path)
    check_named_inputs(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "locked"
    root.mkdir()

    def refuse(**arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("flows.places.tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(StageError, match=r"locked: cannot write here \(Permission denied\)"):
        prepare_place(root)
    monkeypatch.chdir(root)
    assert main([]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "cannot write here" in captured.err
    assert not any(root.iterdir())


def test_no_traceback_of_nothing_stands_in_the_log() -> None:
    record = logging.LogRecord("prefect.task_runs", logging.ERROR, "f", 1, "failed", None, (None, None, None))
    assert without_empty_traceback(record)
    assert "NoneType" not in logging.Formatter().format(record)


@pytest.mark.parametrize("name", ["with space", "k(l)'ä"])
def test_make_from_another_folder_finds_its_python(tmp_path: Path, name: str) -> None:
    """`make -C`: the recipe runs the checkout's own interpreter, wherever it lies."""
    root = tmp_path / name
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "Makefile", root)
    python = root / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "ran: $*"\ncommand -v python\n')
    python.chmod(0o755)
    for source in ("pyproject.toml", "constraints.txt", "requirements-no-deps.txt", "infra/install_carried_files.sh"):
        (root / source).parent.mkdir(exist_ok=True)
        (root / source).touch()
    (root / ".venv/.installed").touch()
    (root / "my (videos)").mkdir()
    make = ["make", "-C", str(root), "demo", "CORPUS=my (videos)"]
    done = subprocess.run(make, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "ran: -m flows.demo --corpus my (videos)" in done.stdout and str(python) in done.stdout
