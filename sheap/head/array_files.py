"""Arrays by name out of whatever container users keep them in, never running what it may carry; and checks that name the array.

Known by content, not by ending: pickles (flame_pickle.py), .npz and .npy (also with pickled objects inside), files of torch.save.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from sheap.head.flame_pickle import load_pickle, read_pickled_arrays, to_plain
from sheap.reading.regular_file import read_bytes, require_regular

Arrays = dict[str, Any]


def read_arrays(path: Path) -> Arrays:
    """Arrays by name. Raises ValueError naming the file when it is none of these, OSError when it cannot be read."""
    require_regular(path)
    if path.suffix.lower() in (".pt", ".pth"):
        return _plain_dict(read_torch(path), path)
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start.startswith(npy.MAGIC_PREFIX):
        return _plain_dict(read_npy(path), path)
    if path.suffix.lower() == ".npz":
        raise ValueError(f"{path}: not a readable .npz file of plain arrays (it does not begin as one)")
    return read_pickled_arrays(path)


def array_names(path: Path) -> set[str]:
    """Names of the arrays in an .npz file, without reading them. Raises ValueError naming the file when it is cut short."""
    try:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a readable .npz file ({error}); is it cut short?") from None


def _read_zip(path: Path) -> Arrays:
    """An .npz file, or one of torch.save under any name."""
    names = array_names(path)
    if any(name.endswith("data.pkl") for name in names):
        return _plain_dict(read_torch(path), path)
    arrays = {}
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            try:
                arrays[name.removesuffix(".npy")] = _parse_npy(file.read(name))
            except Exception as error:  # zip, header, dtype and pickle problems each raise their own kind
                raise ValueError(f"{path}: '{name.removesuffix('.npy')}' is not a readable array ({error})") from None
    return arrays


def read_npy(path: Path) -> Any:
    """An .npy file. Raises ValueError naming the file when it is broken."""
    try:
        return _parse_npy(read_bytes(path))
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a readable .npy file ({error})") from None


def _parse_npy(content: bytes) -> Any:
    file = io.BytesIO(content)
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = read_header(file)
    if not dtype.hasobject:
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
    value = load_pickle(file)
    return to_plain(value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value)


def read_torch(path: Path) -> Any:
    """What torch.save wrote, tensors as arrays: weights only, and NumPy's plain arrays."""
    allowed = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u4", "u8", "u1", "?"))]
    try:
        # An older PyTorch's name of the same function; both only make an empty array.
        reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        with torch.serialization.safe_globals(
            [*allowed, reconstruct, (reconstruct, "numpy.core.multiarray._reconstruct")]
        ):
            document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        what = str(error).split("\n")[0].split(". ")[0]
        raise ValueError(f"{path}: not a readable file of torch.save with tensors alone ({what})") from None
    return _as_arrays(document)


def _as_arrays(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to_dense().cpu().numpy() if value.is_sparse else value.detach().cpu().numpy()
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
    """One numeric array of the given shape (None: any size)."""
    if name not in arrays:
        raise ValueError(f"{path}: lacks '{name}'")
    try:
        value = np.asarray(arrays[name], dtype=dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: '{name}' is not an array of numbers") from None
    if value.ndim != len(shape) or any(want is not None and want != got for want, got in zip(shape, value.shape)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{path}: '{name}' has shape {list(value.shape)}, expected [{wanted}]")
    if not np.isfinite(value).all():
        raise ValueError(f"{path}: '{name}' holds values that are not finite")
    return value


def indices_of(arrays: Arrays, name: str, path: Path, limit: int, width: int | None = 3) -> NDArray[np.int64]:
    """Whole numbers in [0, limit), shape [any, width] or [any]."""
    value = array_of(arrays, name, path, (None,) if width is None else (None, width))
    if not (value == value.round()).all() or value.min(initial=0) < 0 or value.max(initial=0) >= limit:
        raise ValueError(f"{path}: '{name}' holds indices outside 0..{limit - 1}")
    return value.astype(np.int64)


def float_tensor(value: NDArray[Any]) -> Tensor:
    """As float32."""
    return torch.as_tensor(np.ascontiguousarray(value), dtype=torch.float32)
