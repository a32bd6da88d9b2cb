"""What a checkout needs before anything starts: a folder that can be written, without git DVC's consent, inputs that are set."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from flows.commands import environment_with_this_python
from pipeline.run.settings import DVC_FILE, PARAMS_FILE, StageError, read_params_file


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
    check_named_inputs(project)


def check_named_inputs(project: Path) -> None:
    """Raises StageError, one line, where dvc.yaml lists a setting as a stage's input and the setting is null.

    DVC says of that "unexpected error", and only when the stage's turn has come.
    """
    if not ((project / DVC_FILE).is_file() and (project / PARAMS_FILE).is_file()):
        return
    settings = read_params_file(project / PARAMS_FILE)
    stages = (yaml.safe_load((project / DVC_FILE).read_text(encoding="utf-8")) or {}).get("stages") or {}
    for stage, entry in stages.items():
        for line in entry.get("deps") or ():
            named = re.fullmatch(r"\$\{([^}]+)\}", str(line))
            if named is not None and _is_unset(settings, named[1]):
                raise StageError(
                    f"{PARAMS_FILE}: {named[1]} is not set, but {DVC_FILE} lists it as an input of stage '{stage}'; "
                    "run: python -m pipeline.run.dvc_file --write"
                )


def _is_unset(settings: object, name: str) -> bool:
    """name: dotted, with indices (corpus.further[0].folder)."""
    for part in re.findall(r"[^.\[\]]+", name):
        if isinstance(settings, list) and part.isdecimal() and int(part) < len(settings):
            settings = settings[int(part)]
        elif isinstance(settings, dict):
            settings = settings.get(part)
        else:
            return True
    return settings is None


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
