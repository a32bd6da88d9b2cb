"""Only regular files are opened: a named pipe waits for ever, a device never ends."""

from __future__ import annotations

import stat
from pathlib import Path

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


def read_bytes(path: Path) -> bytes:
    """A regular file's content. Raises OSError, or ValueError naming the path for a pipe, a socket or a device."""
    kind = special_kind(path)
    if kind is not None:
        raise ValueError(f"{path}: {kind}, not a file; copy what it gives into one")
    return path.read_bytes()
