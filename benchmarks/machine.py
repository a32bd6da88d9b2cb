"""The code that a benchmark ran, and the memory that it took."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

from pipeline.run.provenance import git_commit

ROOT = Path(__file__).parents[1]


def commit() -> str:
    """The commit of this checkout in short, with `-dirty` where what decides results differs."""
    name, dash, dirty = (git_commit(ROOT) or "").partition("-")
    return name[:7] + dash + dirty if name else "not a git checkout"


def reset_peak_mb() -> float:
    """Forget the peak of this process's memory (Linux), and return what it uses now, freed memory handed back."""
    gc.collect()
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status_mb("VmRSS")


def status_mb(key: str) -> float:
    """A line of /proc/self/status in MB; NaN where there is no such file (not Linux)."""
    path = Path("/proc/self/status")
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return float("nan")
