"""Wavefront OBJ files as head models come in them: vertices in the file's order, polygons cut into fans, UVs if there are any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.reading.regular_file import read_bytes


@dataclass(frozen=True)
class ObjMesh:
    """vertices [N, 3] in the file's unit; faces [F, 3]; uv_coords [T, 2] and uv_faces [F, 3], or None where faces name none."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    uv_coords: NDArray[np.float64] | None
    uv_faces: NDArray[np.int64] | None


def read_obj(path: Path) -> ObjMesh:
    """Raises ValueError naming file and line kind when something is no number or out of range, OSError when unreadable."""
    vertices, coords, faces = [], [], []
    for line in read_bytes(path).splitlines():
        kind, _, rest = line.partition(b" ")
        if kind == b"v":
            vertices.append(rest.split()[:3])
        elif kind == b"vt":
            coords.append(rest.split()[:2])
        elif kind == b"f":
            faces.append(rest.split())
    points = _numbers(vertices, 3, "v", path)
    vertex_ids, uv_ids = _fans(faces, path)
    # FLAME's template is sometimes passed on as its texture places and faces alone.
    if len(points) and len(vertex_ids) and (vertex_ids.min() < 0 or vertex_ids.max() >= len(points)):
        raise ValueError(f"{path}: 'f' names vertices outside 1..{len(points)}")
    if uv_ids is None or not coords:
        return ObjMesh(points, vertex_ids, None, None)
    places = _numbers(coords, 2, "vt", path)
    if uv_ids.min(initial=0) < 0 or uv_ids.max(initial=0) >= len(places):
        raise ValueError(f"{path}: 'f' names texture places outside 1..{len(places)}")
    return ObjMesh(points, vertex_ids, places, uv_ids)


def read_obj_vertices(path: Path) -> NDArray[np.float64]:
    """Vertices [N, 3] alone. Raises as read_obj does."""
    lines = [line[2:].split()[:3] for line in read_bytes(path).splitlines() if line.startswith(b"v ")]
    return _numbers(lines, 3, "v", path)


def _numbers(rows: list[list[bytes]], width: int, kind: str, path: Path) -> NDArray[np.float64]:
    try:
        found = np.array(rows, dtype=np.float64).reshape(-1, width)
    except ValueError:
        raise ValueError(f"{path}: a '{kind}' line does not hold {width} numbers") from None
    if not np.isfinite(found).all():
        raise ValueError(f"{path}: a '{kind}' line holds a number that is not finite")
    return found


def _fans(polygons: list[list[bytes]], path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Corners [F, 3] of vertices and, where every corner has them, of texture places, from 0."""
    vertex_ids: list[list[int]] = []
    uv_ids: list[list[int]] = []
    try:
        for polygon in polygons:
            corners = [corner.split(b"/") for corner in polygon]
            own = [int(corner[0]) - 1 for corner in corners]
            places = [int(corner[1]) - 1 for corner in corners if len(corner) > 1 and corner[1]]
            for k in range(1, len(own) - 1):
                vertex_ids.append([own[0], own[k], own[k + 1]])
                if len(places) == len(own):
                    uv_ids.append([places[0], places[k], places[k + 1]])
    except ValueError:
        raise ValueError(f"{path}: an 'f' line does not hold whole numbers") from None
    faces = np.array(vertex_ids, dtype=np.int64).reshape(-1, 3)
    return faces, np.array(uv_ids, dtype=np.int64) if len(uv_ids) == len(faces) else None
