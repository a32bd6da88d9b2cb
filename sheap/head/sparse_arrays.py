"""SciPy's sparse matrices as plain arrays, from the state that a file gave them.

SciPy itself takes indices for granted when it fills an array, so those of a doctored file would be written beyond its end. Here
each is checked first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FORMS = ("csc", "csr", "coo", "bsr", "dia", "lil", "dok")
MOST_ENTRIES = 2**26
"""Half a gigabyte: no head model's array is larger."""


def dense(form: str, state: Mapping[str, Any], entries: Mapping[Any, Any]) -> Array:
    """The matrix of a form with the state that SciPy pickles; entries: of a `dok` that was pickled as a dictionary.

    Raises ValueError for indices outside the matrix, parts that do not belong together, and more than MOST_ENTRIES; KeyError
    naming a part that is missing.
    """
    rows, columns, values, shape = _triples(form, state, entries)
    if not (len(rows) == len(columns) == len(values)):
        raise ValueError(f"its {form} form has {len(values)} values at {len(rows)} rows and {len(columns)} columns")
    for indices, size in ((rows, shape[0]), (columns, shape[1])):
        if len(indices) and not (indices.min() >= 0 and indices.max() < size):
            raise ValueError(f"its {form} form names places outside {shape[0]} x {shape[1]}")
    made = np.zeros(shape)
    np.add.at(made, (rows, columns), values)
    return made


def _triples(form: str, state: Mapping[str, Any], entries: Mapping[Any, Any]) -> tuple[Any, Any, Any, tuple[int, int]]:
    """Rows, columns and values, and the shape."""
    height, width = (int(size) for size in (state["_shape"] if "_shape" in state else state["shape"]))
    if height < 0 or width < 0 or height * width > MOST_ENTRIES:
        raise ValueError(f"a {form} matrix of {height} x {width}, expected at most {MOST_ENTRIES} entries")
    shape = height, width
    if form == "dok":
        found = state.get("_dict") or entries
        places = np.array(list(found), dtype=np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1], np.array(list(found.values()), dtype=np.float64), shape
    if form == "lil":
        lists, numbers = [[list(row) for row in state[name]] for name in ("rows", "data")]
        if [len(row) for row in lists] != [len(row) for row in numbers] or len(lists) != height:
            raise ValueError("its lil form has other numbers of places and values")
        rows = np.repeat(np.arange(height), [len(row) for row in lists])
        columns = np.array([place for row in lists for place in row], dtype=np.int64)
        return rows, columns, np.array([value for row in numbers for value in row], dtype=np.float64), shape
    values = np.asarray(state["data"], dtype=np.float64)
    if form == "coo":
        rows, columns = state["coords"] if "coords" in state else (state["row"], state["col"])
        return _whole(rows), _whole(columns), values.reshape(-1), shape
    if form == "dia":
        diagonals = values.reshape(len(_whole(state["offsets"])), -1)
        columns = np.broadcast_to(np.arange(diagonals.shape[1]), diagonals.shape)
        rows = columns - _whole(state["offsets"])[:, None]
        inside = (rows >= 0) & (rows < height) & (columns < width)  # what lies outside is padding, by the form's own rule
        return rows[inside], columns[inside], diagonals[inside], shape
    return *_compressed(form, state, values, shape), shape


def _compressed(form: str, state: Mapping[str, Any], values: Array, shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Rows, columns and values of csr, csc, or bsr with its blocks [K, R, C]."""
    block = values.shape[1:] if form == "bsr" else (1, 1)
    if len(block) != 2 or 0 in block:
        raise ValueError(f"its {form} form has blocks of shape {list(block)}")
    minor, starts = _whole(state["indices"]), _whole(state["indptr"])
    majors = shape[1] if form == "csc" else shape[0] // block[0]
    counts = np.diff(starts)
    if len(starts) != majors + 1 or starts[0] != 0 or (counts < 0).any() or starts[-1] > min(len(minor), len(values)):
        raise ValueError(f"its {form} form's indptr does not fit {shape[0]} x {shape[1]}")
    major, minor = np.repeat(np.arange(majors), counts), minor[: starts[-1]]
    values = values[: starts[-1]].reshape(-1, math.prod(block))
    rows, columns = (minor, major) if form == "csc" else (major, minor)
    down, across = np.divmod(np.arange(math.prod(block)), block[1])
    rows, columns = rows[:, None] * block[0] + down, columns[:, None] * block[1] + across
    return rows.reshape(-1), columns.reshape(-1), values.reshape(-1)


def _whole(values: Any) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError("its indices are not a row of whole numbers")
    return found.astype(np.int64)
