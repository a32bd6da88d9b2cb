"""Reads the arrays out of FLAME's pickles without running any code that a pickle may carry.

Pickles name functions and classes to call. Here every name maps to one of a handful of harmless stand-ins, and any
other name is refused, so a doctored file can at worst hold wrong numbers. chumpy need not be installed.
"""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[np.float64]


class _Record:
    """Stands for an instance of a class we do not load; keeps the state the pickle sets."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state


class _Chumpy(_Record):
    """A chumpy array: its numbers lie under 'x'."""


class _ChumpySelect(_Record):
    """A chumpy slice of another array: flat indices 'idxs' into 'a', shaped 'preferred_shape'."""


class _SparseColumns(_Record):
    """scipy's csc_matrix."""


def _new_instance(cls: type, *_: Any) -> Any:
    """copyreg._reconstructor for the classes above."""
    if cls not in (_Chumpy, _ChumpySelect, _SparseColumns):
        raise pickle.UnpicklingError(f"refuses to build a {cls!r}")
    return cls()


def _new_array(cls: type, shape: Any, dtype: Any) -> NDArray[Any]:
    """numpy's _reconstruct; the pickle fills shape and data in afterwards."""
    if cls is not np.ndarray:
        raise pickle.UnpicklingError(f"refuses to build a {cls!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _new_scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    if dtype.hasobject:
        raise pickle.UnpicklingError("refuses a scalar of objects")
    return np.frombuffer(data, dtype)[0]


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """_codecs.encode, which older pickles use to carry bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refuses the encoding {encoding!r}")
    return codecs.encode(text, "latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _text_to_bytes,
    ("copy_reg", "_reconstructor"): _new_instance,
    ("copyreg", "_reconstructor"): _new_instance,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("collections", "OrderedDict"): OrderedDict,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _ChumpySelect,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[(_module, "_reconstruct")] = _new_array
    _KNOWN[(_module, "scalar")] = _new_scalar
for _module in ("scipy.sparse.csc", "scipy.sparse._csc"):
    _KNOWN[(_module, "csc_matrix")] = _SparseColumns


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[(module, name)]
        except KeyError:
            raise pickle.UnpicklingError(f"names {module}.{name}, which a FLAME file has no use for") from None


def read_pickled_arrays(path: Path) -> dict[str, Any]:
    """The dictionary a FLAME pickle holds, with chumpy and sparse entries as dense numpy arrays.

    Raises ValueError naming the file when it is not such a pickle, OSError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            document = _ArraysOnly(file, encoding="latin1").load()
        if not isinstance(document, dict):
            raise ValueError(f"{path}: expected a dictionary of arrays, found {type(document).__name__}")
        return {str(key): _to_plain(value) for key, value in document.items()}
    except OSError:
        raise
    except ValueError as error:
        raise (
            error if str(path) in str(error) else ValueError(f"{path}: not a readable FLAME pickle ({error})")
        ) from None
    except Exception as error:  # a broken pickle may raise nearly anything
        raise ValueError(f"{path}: not a readable FLAME pickle ({error})") from None


def _to_plain(value: Any) -> Any:
    if isinstance(value, _Chumpy):
        return np.asarray(value.state["x"])
    if isinstance(value, _ChumpySelect):
        source = np.asarray(_to_plain(value.state["a"])).reshape(-1)
        return source[np.asarray(value.state["idxs"])].reshape(value.state["preferred_shape"])
    if isinstance(value, _SparseColumns):
        state = value.state
        shape = state["_shape"] if "_shape" in state else state["shape"]
        return scipy.sparse.csc_matrix((state["data"], state["indices"], state["indptr"]), shape=shape).toarray()
    return value
