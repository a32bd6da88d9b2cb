"""A checkout of its own for one run, so that a run with other settings leaves the project's files as they are.

It is a git worktree of the present commit under .sheap/runs. It shares DVC's cache and everything in .sheap (finished clips,
checkpoints, locks) with the project, so nothing is computed twice and the settings decide the hashes, not the place.
What a run changes (params.yaml, dvc.lock) can be committed on a branch; data/ of the project, which may be in use, is untouched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.run.params_changes import changed_text
from pipeline.run.settings import OWN_CORPUS_FILE, PARAMS_FILE, StageError
from pipeline.run.stage import STATE_DIR

RUNS_DIR = STATE_DIR / "runs"


@dataclass(frozen=True)
class RunCheckout:
    """folder: where the run happens; name: of the run, decided by its settings; commit: what it began from."""

    project: Path
    folder: Path
    name: str
    commit: str

    @classmethod
    def make(cls, project: Path, changes: Mapping[str, Any], purpose: str = "train") -> RunCheckout:
        """The checkout of the run with this purpose and these changed settings: a new one, or what an interrupted one has left.

        Raises StageError naming what is in the way: no git, no commit, a setting that does not exist.
        """
        commit = git(project, "rev-parse", "--verify", "HEAD", problem="settings of one run need a commit to start from")
        document = json.dumps([purpose, dict(changes)], sort_keys=True)
        name = hashlib.sha256(document.encode("utf-8")).hexdigest()[:12]
        checkout = cls(project, project / RUNS_DIR / name, name, commit)
        checkout._check_out()
        checkout._share_state()
        settings = checkout.folder / PARAMS_FILE
        settings.write_text(changed_text(settings.read_text(encoding="utf-8"), changes), encoding="utf-8")
        for name in checkout._tracked_folders():
            dvc(checkout.folder, "checkout", "--quiet", name)
        return checkout

    def _check_out(self) -> None:
        if (self.folder / ".git").exists():
            git(self.folder, "checkout", "--quiet", "--force", "--detach", self.commit)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        git(self.project, "worktree", "prune")
        git(self.project, "worktree", "add", "--quiet", "--detach", str(self.folder), self.commit)

    def _share_state(self) -> None:
        state = self.folder / STATE_DIR
        if not state.is_symlink():
            state.symlink_to(os.path.relpath(self.project / STATE_DIR, self.folder), target_is_directory=True)
        own = self.project / ".dvc" / "config.local"
        if own.exists():
            shutil.copyfile(own, self.folder / ".dvc" / "config.local")
        # DVC's cache of the project, by links: a second copy of a corpus may not fit the disk.
        cache = dvc(self.project, "cache", "dir").strip()
        dvc(self.folder, "cache", "dir", "--local", cache)
        dvc(self.folder, "config", "--local", "cache.type", "reflink,hardlink,symlink,copy")
        local = OWN_CORPUS_FILE.parent
        for file in sorted((self.project / local).glob("*.yaml")) + sorted((self.project / local).glob("*.lock")):
            shutil.copyfile(file, self.folder / local / file.name)

    def _tracked_folders(self) -> list[str]:
        """The files by which DVC tracks what no stage makes, e.g. published.dvc."""
        return sorted(path.name for path in self.folder.glob("*.dvc") if path.is_file())

    def uncommitted(self) -> list[str]:
        """The project's changed files that this run does not see; dvc.lock only repeats what the cache knows."""
        changed = git(self.project, "status", "--porcelain", "--untracked-files=no").splitlines()
        return [line[3:] for line in changed if line[3:] != "dvc.lock"]

    def commit_results(self, message: str) -> str:
        """Commits the settings and what DVC recorded, on the run's branch; gives the branch's name."""
        branch = f"sheap/{self.name}"
        git(self.folder, "add", "--update")
        git(self.folder, "add", "dvc.lock", *self._tracked_folders())
        git(self.folder, *_identity(self.folder), "commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
        git(self.folder, "branch", "--force", branch)
        return branch

    def remove(self) -> None:
        """Ends the checkout; what it made stays in DVC's cache and on its branch."""
        git(self.project, "worktree", "remove", "--force", str(self.folder))


def _identity(folder: Path) -> list[str]:
    """A name for the commits of a machine where git knows none."""
    known = subprocess.run(["git", "config", "user.email"], cwd=folder, capture_output=True, timeout=60)
    return [] if known.returncode == 0 else ["-c", "user.name=train-sheap", "-c", "user.email=train-sheap@localhost"]


def git(folder: Path, *arguments: str, problem: str = "") -> str:
    """Output of a git command. Raises StageError with git's last line, and `problem` before it."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    except OSError as error:
        raise StageError(f"{problem or 'git'}: {error.strerror}: git") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StageError(f"{problem or f'git {arguments[0]}'}: {said}")
    return done.stdout.strip("\n")


def dvc(folder: Path, *arguments: str) -> str:
    """Output of a DVC command. Raises StageError with its last line."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StageError(f"dvc {' '.join(arguments[:2])}: {said.removeprefix('ERROR: ')}")
    return done.stdout
