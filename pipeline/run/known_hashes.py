"""SHA-256s of files that have not changed since they were hashed: a corpus is read once, not at every run.

As git and DVC do it: a file with the same path, inode, size and time of change is the same file. One that was changed in the last
seconds is hashed again next time, for a later change within the clock's grain would not show.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from types import TracebackType

from sheap.data.manifest import file_sha256

GRAIN_S = 2.0
"""Coarsest clock of a file system (FAT's)."""


class KnownHashes:
    """Hashes by file, in a database. A database that cannot be read is begun anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = self._open()

    def __enter__(self) -> KnownHashes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.commit()
        self._database.close()

    def sha256(self, path: Path) -> tuple[int, str]:
        """Size in bytes and SHA-256 of a file. Raises OSError when it cannot be read."""
        found = path.stat()
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        name = str(path.absolute()).encode("utf-8", "surrogateescape")
        query = "SELECT sha256 FROM hashes WHERE name = ? AND inode = ? AND size = ? AND mtime_ns = ?"
        known = self._database.execute(query, (name, *state)).fetchone()
        if known is not None:
            return found.st_size, known[0]
        sha256 = file_sha256(path)
        if time.time_ns() - found.st_mtime_ns > GRAIN_S * 1e9:
            self._database.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", (name, *state, sha256))
        return found.st_size, sha256

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            self._path.unlink()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path)
        columns = "name BLOB PRIMARY KEY, inode INTEGER, size INTEGER, mtime_ns INTEGER, sha256 TEXT"
        database.execute(f"CREATE TABLE IF NOT EXISTS hashes ({columns})")
        return database
