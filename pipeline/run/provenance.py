"""Where a result comes from: files, commit and machine (its code: `code_dependencies`)."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from pipeline.run.stage import cpu_count


def fingerprint_files(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their relative names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(str(file.relative_to(path)).encode("utf-8"))
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def git_commit(project: Path = Path()) -> str | None:
    """The commit of the project's checkout, with `-dirty` where tracked files differ; None outside of git.

    dvc.lock and docs/ do not count: DVC writes the one after every stage, experiments and benchmarks write their pages into
    the other, and both say what was made, not of what.
    """
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True, timeout=20)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude,glob)**/dvc.lock", ":(exclude)docs"],
            cwd=project, capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def hardware() -> dict[str, Any]:
    """The machine in words and numbers."""
    gpus = (
        [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "cpu": cpu_name(),
        "cores": cpu_count(),
        "gpus": gpus,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """The processor in words."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
