"""What torch.compile needs of a machine, checked before a run depends on it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from pipeline.run.settings import StageError


def require_compiler(field: str, device_type: str) -> None:
    """Raises StageError naming `field` and the remedy where torch.compile could not build its kernels: on a CPU it runs
    a C++ compiler (CXX), for a GPU ("cuda") a C compiler (CC), and both need Python's header files."""
    if device_type == "cuda":
        variable, candidates = "CC", ("clang", "gcc", "cc")
    else:
        variable, candidates = "CXX", ("clang++",) if sys.platform == "darwin" else ("g++",)
    named = os.environ.get(variable)
    wanted = (named,) if named else candidates
    if not any(shutil.which(name) for name in wanted):
        raise StageError(
            f"params.yaml: {field}: true needs a compiler, and {' or '.join(wanted)} is not on the PATH; install one "
            f"(Debian: apt-get install g++), name yours in {variable}, or set {field} to false"
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise StageError(
            f"params.yaml: {field}: true needs Python's header files, and {header} is missing; install them "
            f"(Debian: apt-get install python3-dev) or set {field} to false"
        )
