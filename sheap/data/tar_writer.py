"""Tars whose bytes depend on their members alone: clips, and loose files. (Shards: sheap.data.shard_writer.)

Every header field is fixed (time, owner, mode); plain `.tar`, because a compressed one has no byte offsets to jump to.
Python's own tarfile: webdataset's writer puts a key before every name and brings torch along, which ingestion has no use for.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from sheap.files import whole_file

_BLOCK = tarfile.BLOCKSIZE


def stored_size(size: int) -> int:
    """What a member of `size` bytes takes in a tar, with its header."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes a whole tar of (name, content)."""
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)  # its time and owner are zero and empty
            header.size, header.mode = len(content), 0o644
            archive.addfile(header, io.BytesIO(content))


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
