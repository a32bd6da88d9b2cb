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
from typing import IO, Any

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


class _Struct(_Record):
    """smplx's Struct and its copies: an object whose attributes are the arrays."""


class _Sparse(_Record):
    """One of scipy's sparse matrices or arrays; `form` names which."""

    form = ""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.entries: dict[Any, Any] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value


_FORMS = ("csc", "csr", "coo", "bsr", "dia", "lil", "dok")
_SPARSE = {form: type(f"_Sparse_{form}", (_Sparse,), {"form": form}) for form in _FORMS}


def _new_instance(cls: type, base: type = object, content: Any = None) -> Any:
    """copyreg._reconstructor for the classes above; scipy's dok form is a dictionary."""
    if cls not in (_Chumpy, _ChumpySelect, _Struct, *_SPARSE.values()):
        raise pickle.UnpicklingError(f"refuses to build a {cls!r}")
    made = cls()
    if base is dict and isinstance(made, _Sparse):
        made.entries.update(content or {})
    return made


def _new_array(cls: type, shape: Any, dtype: Any) -> NDArray[Any]:
    """numpy's _reconstruct; the pickle fills shape and data in afterwards."""
    if cls is not np.ndarray:
        raise pickle.UnpicklingError(f"refuses to build a {cls!r}")
    return np.ndarray((0,), "b")


def _array_of_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    """numpy's _frombuffer, by which protocol 5 carries arrays."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("refuses an array of objects in a buffer")
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


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
    ("builtins", "bytearray"): bytearray,
    ("__builtin__", "bytearray"): bytearray,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("__builtin__", "dict"): dict,
    ("builtins", "dict"): dict,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[(_module, "_reconstruct")] = _new_array
    _KNOWN[(_module, "scalar")] = _new_scalar
for _module in ("numpy.core.numeric", "numpy._core.numeric"):
    _KNOWN[(_module, "_frombuffer")] = _array_of_buffer
for _form, _stand_in in _SPARSE.items():
    for _module in (f"scipy.sparse.{_form}", f"scipy.sparse._{_form}"):
        _KNOWN[(_module, f"{_form}_matrix")] = _KNOWN[(_module, f"{_form}_array")] = _stand_in


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Projects copied smplx's class into modules of their own; the stand-in is as harmless under any name.
        if name == "Struct" and not module.startswith(("builtins", "__builtin__")):
            return _Struct
        try:
            return _KNOWN[(module, name)]
        except KeyError:
            raise pickle.UnpicklingError(f"names {module}.{name}, which a head model has no use for") from None


def read_pickled_arrays(path: Path) -> dict[str, Any]:
    """The dictionary a FLAME pickle holds, with chumpy and sparse entries as dense numpy arrays.

    Raises ValueError naming the file when it is not such a pickle, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        return load_pickled_arrays(file, path)


def load_pickled_arrays(file: IO[bytes], path: Path) -> dict[str, Any]:
    """The same from an open file; `path` names it in errors."""
    try:
        document = load_pickle(file)
        if isinstance(document, _Struct):
            document = document.state
        if not isinstance(document, dict):
            raise ValueError(f"{path}: expected a dictionary of arrays, found {type(document).__name__}")
        return {_text(key): to_plain(value) for key, value in document.items()}
    except OSError:
        raise
    except ValueError as error:
        raise (
            error if str(path) in str(error) else ValueError(f"{path}: not a readable FLAME pickle ({error})")
        ) from None
    except Exception as error:  # a broken pickle may raise nearly anything
        raise ValueError(f"{path}: not a readable FLAME pickle ({error})") from None


def load_pickle(file: IO[bytes]) -> Any:
    """What a pickle holds, without running what it may carry. Raises nearly anything for a broken one."""
    return _ArraysOnly(file, encoding="latin1").load()


def _text(key: Any) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def to_plain(value: Any) -> Any:
    """A value of a pickle with chumpy's and scipy's arrays as NumPy's."""
    if isinstance(value, _Chumpy):
        return np.asarray(value.state["x"])
    if isinstance(value, _ChumpySelect):
        source = np.asarray(to_plain(value.state["a"])).reshape(-1)
        return source[np.asarray(value.state["idxs"])].reshape(value.state["preferred_shape"])
    if isinstance(value, _Sparse):
        return _dense(value)
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0:
        return to_plain(value.item())
    return value


def _dense(value: _Sparse) -> Array:
    """A sparse matrix of any form as a plain array."""
    state = value.state
    shape = state["_shape"] if "_shape" in state else state["shape"]
    if value.form in ("csc", "csr", "bsr"):
        build = getattr(scipy.sparse, f"{value.form}_matrix")
        return build((state["data"], state["indices"], state["indptr"]), shape=shape).toarray()
    if value.form == "coo":
        row, column = state["coords"] if "coords" in state else (state["row"], state["col"])
        return scipy.sparse.coo_matrix((state["data"], (row, column)), shape=shape).toarray()
    if value.form == "dia":
        return scipy.sparse.dia_matrix((state["data"], state["offsets"]), shape=shape).toarray()
    dense = np.zeros(shape)
    if value.form == "lil":
        for number, (columns, numbers) in enumerate(zip(state["rows"], state["data"], strict=True)):
            dense[number, columns] = numbers
        return dense
    for (row, column), number in (state.get("_dict") or value.entries).items():
        dense[row, column] = number
    return dense
