"""PLY (Stanford's polygon files), ASCII and binary: exactly as many rows as the header promises, or none.

Read are an element `vertex` with x, y, z and an element `face` with a list of vertex indices; other elements are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.obj_file import fans
from sheap.reading.text import decode_text, marked_encoding

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
    "int64": "i8", "uint64": "u8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_INDEX_LISTS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class _Property:
    """kind: of the value, or of a list's entries; count_kind: of a list's length, None for a single value."""

    name: str
    kind: str
    count_kind: str | None = None


@dataclass(frozen=True)
class _Element:
    name: str
    rows: int
    properties: tuple[_Property, ...]


@dataclass(frozen=True)
class _Values:
    """One property of all rows: `numbers` in one row; `sizes` [rows] of lists, None for single values."""

    numbers: NDArray[np.generic]
    sizes: NDArray[np.int64] | None


def parse_ply(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices [N,3], faces [F,3]; polygons become fans of triangles; there may be no faces.

    Raises ValueError saying which element is wrong.
    """
    marked = marked_encoding(content)
    if marked is not None:  # only an ASCII file can have been through an editor
        content = decode_text(content, "file").encode("utf-8")
    order, elements, body = _header(content)
    values = _ascii_values(elements, body) if order == "" else _binary_values(elements, body, order)
    vertex, face = values.get("vertex"), values.get("face", {})
    if vertex is None or any(axis not in vertex or vertex[axis].sizes is not None for axis in "xyz"):
        raise ValueError("no element 'vertex' with x, y and z")
    vertices = np.stack([vertex[axis].numbers.astype(np.float64) for axis in "xyz"], axis=1)
    lists = [face[name] for name in _INDEX_LISTS if name in face]
    if not lists:
        if any(element.name == "tristrips" for element in elements):
            raise ValueError("holds triangle strips; save it with faces")
        return vertices, np.zeros((0, 3), np.int64)
    return vertices, _triangles(lists[0])


def _triangles(corners: _Values) -> NDArray[np.int64]:
    if corners.sizes is None or corners.numbers.dtype.kind not in "iu":
        raise ValueError("element face: its indices are not a list of whole numbers")
    if not len(corners.sizes):
        return np.zeros((0, 3), np.int64)
    if corners.sizes.min() < 3:
        raise ValueError(f"element face, row {1 + int(corners.sizes.argmin())}: fewer than three corners")
    return fans(corners.numbers.astype(np.int64), corners.sizes)


def _header(content: bytes) -> tuple[str, list[_Element], bytes]:
    """Byte order ('' for ASCII), the elements, and what follows the header."""
    lines: list[str] = []
    place = 0
    while True:
        end = min((at for at in (content.find(b"\n", place), content.find(b"\r", place)) if at >= 0), default=-1)
        if end < 0:
            raise ValueError("the header has no end")
        line = content[place:end].decode("ascii", "backslashreplace").strip()
        place = end + (2 if content[end : end + 2] == b"\r\n" else 1)
        lines.append(line)
        if lines[0] != "ply":
            raise ValueError("does not begin with 'ply'")
        if line == "end_header":
            break
    order: str | None = None
    elements: list[tuple[str, int, list[_Property]]] = []
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            match line.split():
                case []:
                    pass
                case ["format", name, "1.0"] if order is None:
                    order = _ORDERS[name]
                case ["element", name, rows] if rows.isdecimal():
                    elements.append((name, int(rows), []))
                case ["property", "list", count_kind, kind, name] if _TYPES[count_kind][0] != "f":
                    elements[-1][2].append(_Property(name, _TYPES[kind], _TYPES[count_kind]))
                case ["property", kind, name]:
                    elements[-1][2].append(_Property(name, _TYPES[kind]))
                case ["comment" | "obj_info", *_]:
                    pass
                case _:
                    raise KeyError
        except (KeyError, IndexError):
            raise ValueError(f"header line {number}: '{line[:60]}' is no statement of the format") from None
    if order is None:
        raise ValueError("the header names no format")
    names = [name for name, _, _ in elements]
    if len(set(names)) != len(names):
        raise ValueError("the header names an element twice")
    for name, _, properties in elements:
        if len({item.name for item in properties}) != len(properties):
            raise ValueError(f"element {name}: the header names a property twice")
    return order, [_Element(name, rows, tuple(properties)) for name, rows, properties in elements], content[place:]


def _missing(element: _Element, there: int) -> ValueError:
    return ValueError(f"element {element.name}: {there} of {element.rows} rows are there")


# --- ASCII ------------------------------------------------------------------------------------------------------------


def _ascii_values(elements: list[_Element], body: bytes) -> dict[str, dict[str, _Values]]:
    """One line a row."""
    lines = [line.split() for line in body.splitlines() if line.strip()]
    found, start = {}, 0
    for element in elements:
        rows = lines[start : start + element.rows]
        if len(rows) < element.rows:
            raise _missing(element, len(rows))
        found[element.name] = _ascii_element(element, rows)
        start += element.rows
    if start < len(lines):
        raise ValueError(f"{len(lines) - start} more rows than the header promises")
    return found


def _ascii_element(element: _Element, rows: list[list[bytes]]) -> dict[str, _Values]:
    if all(item.count_kind is None for item in element.properties):
        width = len(element.properties)
        _check_widths(element, rows, [width] * len(rows))
        columns = zip(*rows, strict=True) if rows else ([] for _ in element.properties)
        pairs = zip(element.properties, columns, strict=True)
        return {item.name: _Values(_numbers(list(column), item.kind, element), None) for item, column in pairs}
    parts: dict[str, list[bytes]] = {item.name: [] for item in element.properties}
    sizes: dict[str, list[int]] = {item.name: [] for item in element.properties}
    for number, row in enumerate(rows, start=1):
        place = 0
        for item in element.properties:
            size = 1
            if item.count_kind is not None:
                if not (place < len(row) and row[place].isdigit()):
                    raise ValueError(f"element {element.name}, row {number}: a list without its length")
                size, place = int(row[place]), place + 1
            if place + size > len(row):
                raise ValueError(f"element {element.name}, row {number}: {len(row)} numbers, too few")
            sizes[item.name].append(size)
            parts[item.name] += row[place : place + size]
            place += size
        if place < len(row):
            raise ValueError(f"element {element.name}, row {number}: {len(row)} numbers, {place} expected")
    return {
        item.name: _Values(
            _numbers(parts[item.name], item.kind, element),
            None if item.count_kind is None else np.array(sizes[item.name], np.int64),
        )
        for item in element.properties
    }


def _check_widths(element: _Element, rows: list[list[bytes]], widths: list[int]) -> None:
    for number, (row, width) in enumerate(zip(rows, widths, strict=True), start=1):
        if len(row) != width:
            raise ValueError(f"element {element.name}, row {number}: {len(row)} numbers, {width} expected")


def _numbers(words: list[bytes], kind: str, element: _Element) -> NDArray[np.generic]:
    wide = np.float64 if kind[0] == "f" else np.int64
    if b"_" in b"".join(words):  # Python reads 1_000, the format does not
        shown = next(word for word in words if b"_" in word)[:40].decode("ascii", "backslashreplace")
        raise ValueError(f"element {element.name}: '{shown}' is no number")
    try:
        found = np.array(words, dtype="S").astype(wide) if words else np.zeros(0, wide)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"element {element.name}: {error}") from None
    if kind[0] != "f" and found.size and not (found.min() >= np.iinfo(kind).min and found.max() <= np.iinfo(kind).max):
        raise ValueError(f"element {element.name}: numbers from {found.min()} to {found.max()} where the header says {kind}")
    return found


# --- binary -----------------------------------------------------------------------------------------------------------


def _binary_values(elements: list[_Element], body: bytes, order: str) -> dict[str, dict[str, _Values]]:
    found, start = {}, 0
    for element in elements:
        found[element.name], start = _binary_element(element, body, start, order)
    if body[start:].strip(b"\0 \t\r\n\x1a"):
        raise ValueError(f"{len(body) - start} bytes more than the header promises")
    return found


def _binary_element(element: _Element, body: bytes, start: int, order: str) -> tuple[dict[str, _Values], int]:
    """The element's properties and where the next element begins."""
    row = _row_type(element, body, start, order)
    if row.itemsize == 0 or element.rows == 0:
        empty = np.zeros(0, np.int64)
        return {item.name: _Values(empty, None if item.count_kind is None else empty) for item in element.properties}, start
    there = (len(body) - start) // row.itemsize
    lists = [item for item in element.properties if item.count_kind is not None]
    if there >= element.rows:
        table = np.frombuffer(body, row, element.rows, start)
        if all((table[f"#{item.name}"] == table[f"#{item.name}"][0]).all() for item in lists):
            values = {}
            for item in element.properties:
                sizes = None if item.count_kind is None else table[f"#{item.name}"].astype(np.int64)
                values[item.name] = _Values(table[item.name].reshape(-1), sizes)
            return values, start + element.rows * row.itemsize
    elif not lists:
        raise _missing(element, there)
    return _walk(element, body, start, order)


def _row_type(element: _Element, body: bytes, start: int, order: str) -> np.dtype:
    """The layout of the element's first row, which is that of all where lists are of one length."""
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    place = start
    for item in element.properties:
        if item.count_kind is None:
            fields.append((item.name, order + item.kind))
            place += np.dtype(item.kind).itemsize
            continue
        kind = np.dtype(order + item.count_kind)
        size = int(np.frombuffer(body, kind, 1, place)[0]) if element.rows and place + kind.itemsize <= len(body) else 0
        size = max(0, min(size, len(body)))
        fields += [(f"#{item.name}", order + item.count_kind), (item.name, order + item.kind, (size,))]
        place += kind.itemsize + size * np.dtype(item.kind).itemsize
    try:
        return np.dtype(fields)
    except ValueError:
        raise ValueError(f"element {element.name}: a list of no possible length") from None


def _walk(element: _Element, body: bytes, start: int, order: str) -> tuple[dict[str, _Values], int]:
    """Row by row, for lists of different lengths."""
    parts: dict[str, list[NDArray[np.generic]]] = {item.name: [] for item in element.properties}
    sizes: dict[str, list[int]] = {item.name: [] for item in element.properties}
    kinds = [(item, np.dtype(order + item.kind), np.dtype(order + (item.count_kind or "u1"))) for item in element.properties]
    place = start
    for row in range(element.rows):
        for item, kind, count_kind in kinds:
            size = 1
            if item.count_kind is not None:
                if place + count_kind.itemsize > len(body):
                    raise _missing(element, row)
                size, place = int(np.frombuffer(body, count_kind, 1, place)[0]), place + count_kind.itemsize
            if size < 0 or place + size * kind.itemsize > len(body):
                raise _missing(element, row)
            sizes[item.name].append(size)
            parts[item.name].append(np.frombuffer(body, kind, size, place))
            place += size * kind.itemsize
    return {
        item.name: _Values(
            np.concatenate(parts[item.name]),
            None if item.count_kind is None else np.array(sizes[item.name], np.int64),
        )
        for item in element.properties
    }, place
