"""Only regular files are opened: a named pipe waits for ever, a device never ends."""

from __future__ import annotations

import stat
from pathlib import Path

MAX_BYTES = 4 * 10**9
"""Of a file that is read whole: the largest that are sound (tables of a million rows, dense scans) have a tenth of it."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special_kind(path: Path) -> str | None:
    """What `path` is where reading it may never end ("a named pipe"); None for a file or folder. Raises OSError."""
    mode = path.stat().st_mode
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def require_regular(path: Path) -> None:
    """For files that are opened elsewhere. Raises OSError, or ValueError naming the path for a pipe, a socket or a device."""
    kind = special_kind(path)
    if kind is not None:
        raise ValueError(f"{path}: {kind}, not a file; copy what it gives into one")


def read_bytes(path: Path) -> bytes:
    """A regular file's content. Raises as require_regular does, and ValueError for a huge file."""
    require_regular(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size / 1e9:.0f} GB; files of up to {MAX_BYTES / 1e9:.0f} GB are read whole")
    return path.read_bytes()


def read_start(path: Path, size: int = 64) -> bytes:
    """A regular file's first bytes. Raises as read_bytes does."""
    require_regular(path)
    with path.open("rb") as file:
        return file.read(size)
