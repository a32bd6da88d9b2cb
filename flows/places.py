"""What a checkout needs where it lies, before anything starts: a folder that can be written; without git, DVC's consent."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.commands import environment_with_this_python
from pipeline.run.settings import StageError


def prepare_place(project: Path) -> None:
    """Raises StageError, one line, where the road would end later: after minutes of work.

    Without a git checkout (a downloaded archive) DVC is told to do without; it writes so into .dvc/config.local.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=project):
            pass
    except OSError as error:
        raise StageError(f"{project}: cannot write here ({error.strerror}); put the checkout where you may") from None
    if (project / ".dvc").is_dir() and not has_git(project) and not _does_without_git(project):
        command = [sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"]
        done = subprocess.run(command, cwd=project, env=environment_with_this_python(), capture_output=True, text=True)
        if done.returncode:
            told = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise StageError(f"{project}: not a git checkout, and DVC cannot be told to do without ({told}); type: git init")


def has_git(project: Path) -> bool:
    """Whether the project lies in a git checkout, and git is there to ask."""
    return shutil.which("git") is not None and any((folder / ".git").exists() for folder in (project, *project.parents))


def _does_without_git(project: Path) -> bool:
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read(project / ".dvc" / name, encoding="utf-8")
            if parser.getboolean("core", "no_scm", fallback=False):
                return True
        except (configparser.Error, ValueError):
            continue  # DVC says what is wrong with it
    return False
