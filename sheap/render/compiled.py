"""The decorator of every compiled kernel: numba, without the interpreter's lock, kept on disk between runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import njit

KERNEL_SOURCES = (
    "compiled.py",
    "mesh_zbuffer.py",
    "simd.py",
    "splat_cpu_lists.py",
    "splat_cpu_project.py",
    "splat_cpu_tiles.py",
    "splat_rules.py",
    "threads.py",
)
"""Every file of this folder with a kernel and every file that one imports; a test holds the list to the import graph."""

_log = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call (seconds), then from numba's cache: `__pycache__`, or the user's cache folder where that
    is read-only. Divisions by zero give infinity or NaN, as in numpy."""
    # numba looks for changes in the function's own file only, and would keep a kernel whose helpers or constants in a
    # neighbouring file have changed. Its cache is filed under the qualified name, so the name tells the sources apart.
    function.__qualname__ = f"{function.__qualname__}_{_sources_hash()}"
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError as error:  # numba's word for: no folder to write to
        _say_uncached(str(error))
        return njit(nogil=True, error_model="numpy")(function)


@lru_cache
def _sources_hash() -> str:
    digest = hashlib.sha256()
    for name in KERNEL_SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:12]


@lru_cache
def _say_uncached(reason: str) -> None:
    _log.warning("render kernels are compiled anew in every process: %s", reason)
