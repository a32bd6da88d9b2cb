"""Arrays by name out of whatever container users keep them in, never running what it may carry; and checks that name the array.

Known by content, not by ending: pickles (flame_pickle.py), .npz and .npy (also with pickled objects inside), files of torch.save,
all of these compressed with gzip, too.
"""

from __future__ import annotations

import gzip
import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from sheap.head.flame_pickle import load_pickle, load_pickled_arrays, to_plain
from sheap.reading.regular_file import require_regular

Arrays = dict[str, Any]
MOST_BYTES = 2**30
"""What a file may take unpacked: several times the largest head model there is (GNM Head in double precision)."""
GZIP = b"\x1f\x8b"
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch.save's files of before version 1.6 begin."""


def read_arrays(path: Path) -> Arrays:
    """Arrays by name. Raises ValueError naming the file when it is none of these, OSError when it cannot be read."""
    require_regular(path)
    with path.open("rb") as file:
        if file.read(2) == GZIP:
            return _read_stream(io.BytesIO(_unpacked(path)), path)
        return _read_stream(file, path)


def _read_stream(file: IO[bytes], path: Path) -> Arrays:
    file.seek(0)
    start = file.read(len(OLD_TORCH))
    file.seek(0)
    if path.suffix.lower() in (".pt", ".pth") or start == OLD_TORCH:
        return _plain_dict(read_torch(path, file), path)
    if start.startswith(b"PK"):
        return _read_zip(file, path)
    if start.startswith(npy.MAGIC_PREFIX):
        return _plain_dict(_read_npy(file, path), path)
    if path.suffix.lower() == ".npz":
        raise ValueError(f"{path}: not a readable .npz file of plain arrays (it does not begin as one)")
    return load_pickled_arrays(file, path)


def _unpacked(path: Path) -> bytes:
    """A gzip file's content. Raises ValueError naming the file when it is broken, or more than MOST_BYTES."""
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a readable gzip file ({error}); is it cut short?") from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: takes more than {MOST_BYTES // 2**20} MiB unpacked; no head model does")
    return content


def array_names(path: Path) -> set[str]:
    """Names of the arrays in an .npz file, without reading them. Raises ValueError naming the file when it is cut short."""
    try:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a readable .npz file ({error}); is it cut short?") from None


def _read_zip(stream: IO[bytes], path: Path) -> Arrays:
    """An .npz file, or one of torch.save under any name."""
    arrays: Arrays = {}
    left = MOST_BYTES
    try:
        file = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a readable .npz file ({error}); is it cut short?") from None
    if any(name.endswith("data.pkl") for name in file.namelist()):
        stream.seek(0)
        return _plain_dict(read_torch(path, stream), path)
    for member in file.infolist():
        name = member.filename.removesuffix(".npy")
        left -= member.file_size  # more than it says, zipfile does not unpack
        if left < 0:
            raise ValueError(f"{path}: '{name}' takes the file beyond {MOST_BYTES // 2**20} MiB unpacked; no head model does")
        try:
            arrays[name] = _parse_npy(file.read(member))
        except Exception as error:  # zip, header, dtype and pickle problems each raise their own kind
            raise ValueError(f"{path}: '{name}' is not a readable array ({error})") from None
    return arrays


def read_npy(path: Path) -> Any:
    """An .npy file. Raises ValueError naming the file when it is broken."""
    require_regular(path)
    with path.open("rb") as file:
        return _read_npy(file, path)


def _read_npy(file: IO[bytes], path: Path) -> Any:
    try:
        return _parse_npy(file.read())
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a readable .npy file ({error})") from None


def _parse_npy(content: bytes) -> Any:
    file = io.BytesIO(content)
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if not dtype.hasobject:
        held = len(content) - file.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > held:
            raise ValueError(f"its header says {dtype} {list(shape)}, but {held} bytes follow")
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
    value = load_pickle(file)
    return to_plain(value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value)


def read_torch(path: Path, file: IO[bytes] | None = None) -> Any:
    """What torch.save wrote, tensors as arrays: weights only, and NumPy's plain arrays. file: the content, where it is open."""
    allowed = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u4", "u8", "u1", "?"))]
    try:
        # An older PyTorch's name of the same function; both only make an empty array.
        reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        with torch.serialization.safe_globals(
            [*allowed, reconstruct, (reconstruct, "numpy.core.multiarray._reconstruct")]
        ):
            document = torch.load(path if file is None else file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        what = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise ValueError(f"{path}: not a readable file of torch.save with tensors alone ({what})") from None
    return _as_arrays(document)


def _as_arrays(value: Any) -> Any:
    if isinstance(value, Tensor):
        plain = value.detach().cpu()
        plain = plain if plain.layout == torch.strided else plain.to_dense()
        return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()  # NumPy has no bfloat16
    if isinstance(value, dict):
        return {name: _as_arrays(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_arrays(item) for item in value]
    return value


def _plain_dict(value: Any, path: Path) -> Arrays:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a dictionary of arrays, found {type(value).__name__}")
    return {name.decode("latin1") if isinstance(name, bytes) else str(name): item for name, item in value.items()}


def array_of(arrays: Arrays, name: str, path: Path, shape: tuple[int | None, ...], dtype: str = "f8") -> NDArray[Any]:
    """One numeric array of the given shape (None: any size; a table of nothing is refused)."""
    if name not in arrays:
        raise ValueError(f"{path}: lacks '{name}'{_what_it_holds(arrays)}")
    try:
        value = np.asarray(arrays[name], dtype=dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: '{name}' is not an array of numbers") from None
    if value.ndim != len(shape) or any(want is not None and want != got for want, got in zip(shape, value.shape)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{path}: '{name}' has shape {list(value.shape)}, expected [{wanted}]")
    if value.size == 0 and value.ndim > 1:
        raise ValueError(f"{path}: '{name}' is empty")
    if not np.isfinite(value).all():
        raise ValueError(f"{path}: '{name}' holds values that are not finite")
    return value


def _what_it_holds(arrays: Arrays) -> str:
    names = sorted(arrays)
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f" (it holds {shown})" if names else " (it holds nothing)"


def indices_of(arrays: Arrays, name: str, path: Path, limit: int, width: int | None = 3) -> NDArray[np.int64]:
    """Whole numbers in [0, limit), shape [any, width] or [any]."""
    value = array_of(arrays, name, path, (None,) if width is None else (None, width))
    if not (value == value.round()).all() or value.min(initial=0) < 0 or value.max(initial=0) >= limit:
        raise ValueError(f"{path}: '{name}' holds indices outside 0..{limit - 1}")
    return value.astype(np.int64)


def float_tensor(value: NDArray[Any]) -> Tensor:
    """As float32."""
    return torch.as_tensor(np.ascontiguousarray(value), dtype=torch.float32)
