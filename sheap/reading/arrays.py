"""Numpy's .npy files, checked before anything is allocated: what the header claims has to be there."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.reading.regular_file import read_bytes

_ZIP = b"PK\x03\x04"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array(path: Path) -> NDArray[Any]:
    """The array of plain numbers or text in an .npy file. Raises OSError, or ValueError naming the file as parse_array does."""
    return parse_array(read_bytes(path), path)


def parse_array(content: bytes, where: object) -> NDArray[Any]:
    """The array in an .npy file's content; nothing is unpickled.

    Raises ValueError naming `where` when it is something else (an .npz, text, a pickle) or is cut short.
    """
    if content.startswith(_ZIP):
        raise ValueError(f"{where}: an .npz (several arrays in one file) under the name of an .npy; save one array with np.save")
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError(f"{where}: {'empty' if not content else 'not an .npy file'}")
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 in its encoding alone, which names of fields could need; those are refused anyway.
        shape, _, dtype = _HEADERS.get(version, np.lib.format.read_array_header_2_0)(file)
    except Exception as error:  # a broken header raises whatever its bytes lead to
        raise ValueError(f"{where}: not a readable .npy header ({type(error).__name__}: {_line(error)})") from None
    if dtype.hasobject:
        raise ValueError(f"{where}: holds pickled objects, not numbers; they are not loaded")
    claimed, there = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if min(shape, default=0) < 0 or claimed > there:
        raise ValueError(f"{where}: the header claims {list(shape)} of {dtype}, {claimed} bytes; {there} follow")
    file.seek(0)
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, OverflowError, OSError, EOFError) as error:
        raise ValueError(f"{where}: not a readable .npy file ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
