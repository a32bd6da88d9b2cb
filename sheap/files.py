"""The one writer of the project's files: a file is whole under its name, or it is not there.

Everything is written under a temporary name in the target's own folder, flushed to the disk and renamed. A full disk, a folder in
the file's place or a missing permission raises `NotWritten`, which names the file and what is missing; what stood under the
name before stays as it was. Folders that have to be whole as one are made by pipeline.run.stage.atomic_directory.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEVICES = Path("/", "dev")
"""Where nothing is replaced: /dev/stdout may lead to a file that somebody else holds open."""

TEMPORARY_SUFFIX = ".part"
"""What a killed run may leave behind: a hidden file that ends so."""

FULL_DISK = "no space left on the disk"
"""What NotWritten says then, also where only its text arrives: from another process."""


class NotWritten(OSError):
    """A file that could not be written: `filename` is its own path, never the temporary one."""

    def __str__(self) -> str:
        return f"{self.filename}: not written: {self.strerror}"


@contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """Yields a binary file; what was written into it stands at `path` when the block ends without an exception.

    Missing folders above it are made. A device or a pipe (/dev/stdout) is written to as it is. Raises NotWritten.
    """
    with whole_path(path) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def whole_path(path: Path | str) -> Iterator[Path]:
    """As whole_file, for libraries that open a file by its name: yields the temporary name, which does not end as `path` does."""
    path = Path(path)
    if _is_direct(path):
        with _named(path, None):
            yield path
        return
    with _named(path):
        target = _target(path)
        temporary = target.with_name(f".{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the umask decides, as ever
    try:
        with _named(path, str(temporary)):
            yield temporary
        with _named(path):
            _flush(temporary)
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Raises NotWritten."""
    with whole_file(path) as file:
        file.write(content)


def write_text(path: Path | str, text: str) -> None:
    """UTF-8, line ends as they are. Raises NotWritten."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, document: object, indent: int = 1, **options: Any) -> None:
    """options: of json.dumps. Raises NotWritten, or TypeError for what JSON cannot hold."""
    write_text(path, json.dumps(document, indent=indent, **options) + "\n")


def write_array(path: Path | str, array: object, *, allow_pickle: bool = False) -> None:
    """An .npy file. Raises NotWritten."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=allow_pickle)
    write_bytes(path, buffer.getvalue())


def write_arrays(path: Path | str, arrays: dict[str, Any]) -> None:
    """A compressed .npz file. Raises NotWritten."""
    import numpy as np

    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)


def write_picture(path: Path | str, picture: NDArray[np.uint8], quality: int | None = None) -> None:
    """A picture [H, W, 3] uint8 RGB, of the kind that the name ends in; quality: of JPEG, 0 to 100.

    Raises NotWritten, or ValueError for an ending that OpenCV cannot write.
    """
    import cv2

    path = Path(path)
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        is_encoded, data = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    except cv2.error:
        is_encoded, data = False, None
    if not is_encoded or data is None:
        raise ValueError(f"{path}: cannot be written as a picture; use a name that ends in .png or .jpg")
    write_bytes(path, data.tobytes())


def require_writable(path: Path | str) -> None:
    """Tells before long work, not after it, that its result could not be written. Raises NotWritten."""
    path = Path(path)
    if _is_direct(path):
        return
    with _named(path):
        probe = _target(path).with_name(f".{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
        probe.touch(exist_ok=False)
        probe.unlink()


_ANY = "any"


@contextmanager
def _named(path: Path, written_as: str | None = _ANY) -> Iterator[None]:
    """Errors of the system as NotWritten of `path`. written_as: only those of a file of this name, and nameless ones (a write's);
    what the block meets in other files is not the writer's to name."""
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        if error.errno is None or (written_as != _ANY and error.filename not in (None, written_as)):
            raise
        raise NotWritten(error.errno, _reason(error, path), str(path)) from None


def _target(path: Path) -> Path:
    """Where the content goes: through a link to what it leads to. Makes the folders above."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _is_direct(path: Path) -> bool:
    """Whether there is something that no file can take the place of: a terminal, a pipe, a device."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or path.is_relative_to(DEVICES)


def _flush(path: Path) -> None:
    """To the disk: a network's file system says only here that it was full."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError, path: Path) -> str:
    """What is missing, in words."""
    folder = path.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        above = next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))
        free = "the quota is used up" if error.errno == errno.EDQUOT else f"{shutil.disk_usage(above).free / 1e6:.0f} MB free"
        return f"{FULL_DISK} ({free}); make room, or write elsewhere"
    reasons = {
        errno.EISDIR: "a folder has this name; remove it, or choose another name",
        errno.ENOTDIR: f"what should be a folder above it is a file ({_file_above(path)})",
        errno.EEXIST: f"what should be a folder above it is a file ({_file_above(path)})",
        errno.EACCES: f"no permission to write in {folder}",
        errno.EPERM: f"no permission to write in {folder}",
        errno.EROFS: f"{folder} is on a read-only file system",
        errno.EFBIG: "it would be larger than this system lets a file be (ulimit -f)",
        errno.ENAMETOOLONG: "the name is too long for this file system",
    }
    return reasons.get(error.errno or 0, error.strerror or str(error))


def _file_above(path: Path) -> Path:
    return next((above for above in path.parents if above.exists() and not above.is_dir()), path.parent)
