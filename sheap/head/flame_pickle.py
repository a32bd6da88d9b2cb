"""Reads the arrays out of FLAME's pickles without running any code that a pickle may carry.

Pickles name functions and classes to call. Here every name maps to one of a handful of harmless stand-ins, and any
other name is refused, so a doctored file can at worst hold wrong numbers: it neither runs code, nor reaches into memory by array
types of its own making, nor claims more memory than it has bytes. chumpy and scipy need not be installed.
"""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from sheap.head.sparse_arrays import FORMS, dense


class _Record:
    """Stands for an instance of a class we do not load; keeps the state the pickle sets."""

    state: dict[str, Any]

    def __new__(cls, *_: Any) -> Self:  # pickles leave __init__ out
        made = super().__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state


class _Chumpy(_Record):
    """A chumpy array: its numbers lie under 'x', in copies that were made without chumpy under 'r'."""


class _ChumpySelect(_Record):
    """A chumpy slice of another array: flat indices 'idxs' into 'a', shaped 'preferred_shape'."""


class _Struct(_Record):
    """smplx's Struct and its copies: an object whose attributes are the arrays."""


class _Sparse(_Record):
    """One of scipy's sparse matrices or arrays; `form` names which."""

    form = ""
    entries: dict[Any, Any]

    def __new__(cls, *_: Any) -> Self:
        made = super().__new__(cls)
        made.entries = {}
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value


_SPARSE = {form: type(f"_Sparse_{form}", (_Sparse,), {"form": form}) for form in FORMS}


class _Array(np.ndarray):
    """An array as numpy's _reconstruct begins it; the pickle fills shape and data in afterwards."""

    def __setstate__(self, state: Any) -> None:
        # (version, shape, dtype, is it in Fortran's order, data); the oldest have no version.
        _require_plain(state[-3], objects=True)
        super().__setstate__(state)


class _ArrayClass:
    """Stands for the name of numpy.ndarray, which pickles hand to _reconstruct. Called itself, it would take any memory."""

    def __call__(self, *_: Any) -> None:
        raise pickle.UnpicklingError("refuses an array of a size alone")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("refuses to change a class")


_NDARRAY = _ArrayClass()


class _Function:
    """A function that a pickle may call. (Of a plain one, it could change the defaults.)"""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("refuses to change a function")


def _require_plain(dtype: Any, *, objects: bool) -> None:
    """Refuses types of a pickle's own making: one that hides objects among its bytes would make addresses of numbers."""
    is_plain = isinstance(dtype, np.dtype) and dtype.kind in "biufcSUO" and (dtype.kind == "O") == dtype.hasobject
    if not is_plain or dtype.subdtype is not None or np.dtype(dtype.str) != dtype:
        raise pickle.UnpicklingError("refuses an array of other than plain numbers, text or objects")
    if dtype.hasobject and not objects:
        raise pickle.UnpicklingError("refuses a buffer of objects")


def _new_instance(cls: type, base: type = object, content: Any = None) -> Any:
    """copyreg._reconstructor for the classes above; scipy's dok form is a dictionary."""
    if cls not in (_Chumpy, _ChumpySelect, _Struct, *_SPARSE.values()):
        raise pickle.UnpicklingError(f"refuses to build a {cls!r}")
    made = cls()
    if base is dict and isinstance(made, _Sparse):
        made.entries.update(content or {})
    return made


def _new_array(cls: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    """numpy's _reconstruct, of an array or of what `todense` makes of a sparse one (numpy.matrix)."""
    if cls is not _NDARRAY:
        raise pickle.UnpicklingError(f"refuses to build a {cls!r}")
    return _Array((0,), "b")


def _array_of_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    """numpy's _frombuffer, by which protocol 5 carries arrays."""
    _require_plain(dtype, objects=False)
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _new_scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    _require_plain(dtype, objects=False)
    return np.frombuffer(data, dtype)[0]


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """_codecs.encode, which older pickles use to carry bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refuses the encoding {encoding!r}")
    return codecs.encode(text, "latin1")


def _bytes(*content: Any) -> bytes:
    """bytes or bytearray, of given bytes alone: older protocols write the empty one as a call. (Of a number, they would take as
    much memory as it says.)"""
    if len(content) > 1 or not all(isinstance(part, bytes) for part in content):
        raise pickle.UnpicklingError("refuses bytes made of anything but bytes")
    return b"".join(content)


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "matrix"): _NDARRAY,
    ("numpy.matrixlib.defmatrix", "matrix"): _NDARRAY,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _Function(_text_to_bytes),
    ("copy_reg", "_reconstructor"): _Function(_new_instance),
    ("copyreg", "_reconstructor"): _Function(_new_instance),
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("collections", "OrderedDict"): OrderedDict,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _ChumpySelect,
    ("builtins", "bytearray"): _Function(_bytes),
    ("__builtin__", "bytearray"): _Function(_bytes),
    ("builtins", "bytes"): _Function(_bytes),
    ("__builtin__", "bytes"): _Function(_bytes),
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("__builtin__", "dict"): dict,
    ("builtins", "dict"): dict,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[(_module, "_reconstruct")] = _Function(_new_array)
    _KNOWN[(_module, "scalar")] = _Function(_new_scalar)
for _module in ("numpy.core.numeric", "numpy._core.numeric"):
    _KNOWN[(_module, "_frombuffer")] = _Function(_array_of_buffer)
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


def load_pickled_arrays(file: IO[bytes], path: Path) -> dict[str, Any]:
    """The dictionary a FLAME pickle holds, with chumpy and sparse entries as dense numpy arrays; `path` names it in errors.

    Raises ValueError naming the file when it is not such a pickle, OSError when it cannot be read.
    """
    try:
        document = load_pickle(file)
        if isinstance(document, _Struct):
            document = document.state
        if not isinstance(document, dict):
            raise ValueError(f"{path}: expected a dictionary of arrays, found {type(document).__name__}")
        return {_text(key): _plain_entry(_text(key), value, path) for key, value in document.items()}
    except OSError:
        raise
    except ValueError as error:
        raise (
            error if str(path) in str(error) else ValueError(f"{path}: not a readable FLAME pickle ({error})")
        ) from None
    except Exception as error:  # a broken pickle may raise nearly anything
        raise ValueError(f"{path}: not a readable FLAME pickle ({str(error) or type(error).__name__})") from None


def _plain_entry(name: str, value: Any, path: Path) -> Any:
    try:
        return to_plain(value)
    except Exception as error:  # what is missing or wrong in a state raises nearly anything
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: '{name}' is not a readable array ({what})") from None


def load_pickle(file: IO[bytes]) -> Any:
    """What a pickle holds, without running what it may carry. Raises nearly anything for a broken one."""
    return _ArraysOnly(file, encoding="latin1").load()


def _text(key: Any) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def to_plain(value: Any) -> Any:
    """A value of a pickle with chumpy's and scipy's arrays as NumPy's."""
    if isinstance(value, _Chumpy):
        return np.asarray(to_plain(value.state["x" if "x" in value.state else "r"]))
    if isinstance(value, _ChumpySelect):
        source = np.asarray(to_plain(value.state["a"])).reshape(-1)
        return source[np.asarray(value.state["idxs"])].reshape(value.state["preferred_shape"])
    if isinstance(value, _Sparse):
        return dense(value.form, value.state, value.entries)
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0:
        return to_plain(value.item())
    return value.view(np.ndarray) if isinstance(value, _Array) else value
