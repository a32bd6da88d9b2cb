"""Tars whose bytes depend on their members alone.

Every header field is fixed (time, owner, mode); plain `.tar`, because a compressed one has no byte offsets to jump to.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

_BLOCK = tarfile.BLOCKSIZE


class TarWriter:
    """Appends members with fixed headers and hashes what it writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def add(self, name: str, content: bytes) -> tuple[int, int]:
        """Offset and length of the stored content."""
        header = tarfile.TarInfo(name)
        header.size = len(content)
        header.mode, header.mtime, header.uid, header.gid, header.uname, header.gname = 0o644, 0, 0, 0, "", ""
        self._write(header.tobuf(tarfile.USTAR_FORMAT))
        offset = self.num_bytes
        self._write(content)
        self._write(b"\0" * (_padded(len(content)) - len(content)))
        return offset, len(content)

    def finish(self) -> None:
        """The two empty blocks that end an archive, padded to a full record as tar does."""
        end = self.num_bytes + 2 * _BLOCK
        self._write(b"\0" * (-(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE - self.num_bytes))
        self.sha256 = self._hash.hexdigest()

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._hash.update(content)
        self.num_bytes += len(content)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def stored_size(size: int) -> int:
    """What a member of `size` bytes takes in a tar, with its header."""
    return _BLOCK + _padded(size)


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes a whole tar of (name, content)."""
    with path.open("wb") as file:
        writer = TarWriter(file)
        for name, content in members:
            writer.add(name, content)
        writer.finish()


def read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every member. Raises ValueError naming the file when it is no whole tar."""
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                file = archive.extractfile(info)
                assert file is not None, "only plain files are written"
                yield info.name, file.read()
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a whole tar ({error})") from None
