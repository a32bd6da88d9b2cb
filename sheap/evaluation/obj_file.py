"""Wavefront OBJ by the words of its format: vertices in their order and faces, everything else left aside.

Accepted: leading blanks and tabs, comments after values, statements continued by a backslash, every end of line, byte-order
marks, UTF-16, and whatever alphabet comments and names are in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sheap.reading.text import decode_text, marked_encoding

_LARGEST = np.iinfo(np.int64).max


@dataclass
class _Statements:
    """Values of one kind of statement, the line each stands on, and how many vertices stood above it."""

    values: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    vertices_above: list[int] = field(default_factory=list)


def parse_obj(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices [N,3], faces [F,3] from 0; polygons become fans of triangles; either may be empty.

    Raises ValueError naming the line.
    """
    vertices, faces = _statements(_as_ascii(content))
    return _vertices(vertices), _faces(faces, len(vertices.values))


def _as_ascii(content: bytes) -> bytes:
    """The content as an extension of ASCII, without a mark. Comments may be in any alphabet, so UTF-8 is not checked."""
    marked = marked_encoding(content)
    if marked is not None:
        encoding, skip = marked
        content = content[skip:] if encoding == "utf-8" else decode_text(content, "file").encode("utf-8")
    if b"\0" in content:
        raise ValueError(f"line {1 + len(content[: content.index(0)].splitlines())}: not text (a NUL byte)")
    return content


def _statements(content: bytes) -> tuple[_Statements, _Statements]:
    """What `v` and `f` say."""
    vertices, faces = _Statements(), _Statements()
    lines = enumerate(content.splitlines(), start=1)
    for number, line in lines:
        words = line.split(None, 1)
        if not words:
            continue
        if words[0] == b"v":
            into = vertices
        elif words[0] == b"f":
            into = faces
        else:
            _check_unread(words[0], line, number)
            continue
        value = words[1] if len(words) == 2 else b""
        into.vertices_above.append(len(vertices.values))
        into.lines.append(number)
        if b"#" in value:
            value = value[: value.index(b"#")]
        # Only what is read is continued: a comment or a name may end in a backslash as Windows' folders do.
        while value.rstrip().endswith(b"\\"):
            value = value.rstrip()[:-1] + b" " + next(lines, (0, b""))[1].partition(b"#")[0]
        into.values.append(value)
    return vertices, faces


def _check_unread(keyword: bytes, line: bytes, number: int) -> None:
    """Refuses what may be a vertex or a face behind a broken keyword: left aside, it would shift all others."""
    if keyword in _UNREAD or keyword.startswith(b"#"):
        return
    shown = keyword[:20].decode("ascii", "backslashreplace")
    if keyword == b"call":
        raise ValueError(f"line {number}: 'call' takes statements from another file; save the mesh as one file")
    if keyword[:1] in (b"v", b"f") and _is_like_value(keyword[1:]):
        raise ValueError(f"line {number}: '{shown}' is no statement of the format; a blank is missing in it")
    values = line.partition(b"#")[0].split()[1:]
    if len(values) >= 3 and all(_is_like_value(value) for value in values):
        raise ValueError(f"line {number}: '{shown}' is no statement of the format, and numbers follow")


_UNREAD = frozenset(
    b"vt vn vp cstype deg bmat step p l curv curv2 surf parm trim hole scrv sp end con g s mg o bevel c_interp d_interp lod"
    b" usemap maplib usemtl mtllib shadow_obj trace_obj ctech stech csh bsp bzp cdc cdp res vc vw".split()
)
"""The format's other keywords, and two that exporters add (colours and weights of vertices)."""


def _is_like_value(value: bytes) -> bool:
    try:
        float(value.split(b"/", 1)[0])
    except ValueError:
        return False
    return True


def _vertices(statements: _Statements) -> NDArray[np.float64]:
    """Positions: the first three numbers of every statement; a weight or colours may follow."""
    if not statements.values:
        return np.zeros((0, 3))
    columns = len(statements.values[0].split())
    numbers = b" ".join(statements.values).split()
    if columns >= 3 and all(len(value.split()) == columns for value in statements.values):
        try:
            found = np.array(numbers, dtype=np.float64)
            if b"_" not in b"".join(numbers):  # Python reads 1_000, the format does not
                return found.reshape(-1, columns)[:, :3].copy()
        except ValueError:
            pass  # the line is found below
    return np.array([_position(*row) for row in zip(statements.values, statements.lines, strict=True)], np.float64)


def _position(value: bytes, line: int) -> list[float]:
    words = value.split()
    if len(words) < 3:
        raise ValueError(f"line {line}: a vertex has fewer than three numbers")
    try:
        if b"_" in value:
            raise ValueError
        return [float(word) for word in words][:3]
    except ValueError:
        shown = value[:60].decode("ascii", "backslashreplace").strip()
        raise ValueError(f"line {line}: '{shown}' are no numbers") from None


def _faces(statements: _Statements, num_vertices: int) -> NDArray[np.int64]:
    """Vertex indices from 0. `v/vt/vn` keeps v; negative ones count back from the line where they stand."""
    if not statements.values:
        return np.zeros((0, 3), dtype=np.int64)
    corners = [value.split() for value in statements.values]
    if any(b"/" in value for value in statements.values):
        corners = [[part.split(b"/", 1)[0] for part in face] for face in corners]
    sizes = np.array([len(face) for face in corners])
    if sizes.min() < 3:
        raise ValueError(f"line {statements.lines[int(sizes.argmin())]}: a face has fewer than three corners")
    indices = _indices(corners, statements.lines, num_vertices)
    place = np.repeat(np.arange(len(corners)), sizes)
    above = np.array(statements.vertices_above)[place]
    found = np.where(indices < 0, indices + above, indices - 1)
    wrong = (indices == 0) | (found < 0) | (found >= num_vertices)
    if wrong.any():
        first = int(wrong.argmax())
        line = statements.lines[place[first]]
        if indices[first] == 0:
            raise ValueError(f"line {line}: a face has index 0; OBJ counts from 1")
        raise ValueError(
            f"line {line}: faces: indices run from {found.min()} to {found.max()}, but there are {num_vertices} vertices"
        )
    if (sizes == 3).all():
        return found.reshape(-1, 3)
    return fans(found, sizes)


def _indices(corners: list[list[bytes]], lines: list[int], num_vertices: int) -> NDArray[np.int64]:
    """All corners' numbers in one row."""
    flat = [corner for face in corners for corner in face]
    try:
        if b"_" not in b"".join(flat):
            return np.array(flat).astype(np.int64)
    except (ValueError, OverflowError):
        pass  # the line is found below
    for face, line in zip(corners, lines, strict=True):
        for corner in face:
            shown = corner[:40].decode("ascii", "backslashreplace")
            try:
                is_number, value = b"_" not in corner, int(corner)
            except ValueError:
                is_number, value = False, 0
            if not is_number:
                raise ValueError(f"line {line}: a face's corner is '{shown}', not a whole number")
            if abs(value) > _LARGEST:
                raise ValueError(f"line {line}: faces: index {shown}, but there are {num_vertices} vertices")
    return np.array([int(corner) for corner in flat], np.int64)


def fans(indices: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles [F,3] of polygons of `sizes` [P] (at least 3 each) whose corners follow one another in `indices` [sum(sizes)]."""
    starts = np.cumsum(sizes) - sizes
    polygon = np.repeat(np.arange(len(sizes)), sizes - 2)
    triangles_before = np.cumsum(sizes - 2) - (sizes - 2)
    step = np.arange(len(polygon)) - triangles_before[polygon]
    first = starts[polygon]
    return np.stack([indices[first], indices[first + step + 1], indices[first + step + 2]], axis=1)
