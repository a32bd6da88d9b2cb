"""Triangle meshes on disk: Wavefront OBJ and PLY, read and written; the vertices' order is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.mesh_checks import check_mesh, check_points
from sheap.evaluation.obj_file import parse_obj
from sheap.evaluation.ply_file import parse_ply
from sheap.files import write_bytes, write_text
from sheap.reading.regular_file import read_bytes


@dataclass(frozen=True)
class TriangleMesh:
    """vertices [N,3] float64 in the file's unit, faces [F,3] int64."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def read_mesh(path: Path) -> TriangleMesh:
    """An .obj or .ply file, vertices in the file's order, polygons as fans of triangles.

    Raises OSError when it cannot be read, ValueError naming the file when it is no mesh (unknown kind, no faces, NaN,
    indices out of range).
    """
    mesh = _read(path)
    try:
        check_mesh(mesh.vertices, mesh.faces)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return mesh


def read_points(path: Path) -> NDArray[np.float64]:
    """Vertices [N,3] of an .obj or .ply file, which may be a mesh or a point cloud. Raises as read_mesh does."""
    points = _read(path).vertices
    try:
        check_points(points, "points")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return points


def find_file(stem: Path, endings: tuple[str, ...]) -> Path | None:
    """The file STEM + ending of the first ending that is there, in small letters or (.OBJ, .Ply) others; None without one."""
    for ending in endings:
        path = stem.with_name(stem.name + ending)
        if path.is_file():
            return path
    folder = stem.parent
    others = sorted(path for path in folder.iterdir() if path.stem == stem.name) if folder.is_dir() else []
    for ending in endings:
        for path in others:
            if path.suffix.lower() == ending and path.is_file():
                return path
    return None


def write_obj(path: Path, mesh: TriangleMesh, decimals: int = 6, note: str = "") -> None:
    """Writes vertices with so many decimals (six: a nanometre where the unit is millimetres) and 1-based faces.

    note: a comment at the top, one line. Raises NotWritten.
    """
    faces = ("f %d %d %d\n" * len(mesh.faces)) % tuple((mesh.faces + 1).ravel().tolist())
    write_text(path, (f"# {note}\n" if note else "") + _vertex_lines(mesh.vertices, decimals) + faces)


def write_ply(path: Path, mesh: TriangleMesh, note: str = "") -> None:
    """Writes binary PLY, vertices as 32-bit floats. note: a comment in the header, one line. Raises NotWritten."""
    rows = np.zeros(len(mesh.faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    rows["count"], rows["corners"] = 3, mesh.faces
    header = ["ply", "format binary_little_endian 1.0", *([f"comment {note}"] if note else [])]
    header += [f"element vertex {len(mesh.vertices)}", *(f"property float {axis}" for axis in "xyz")]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header\n"]
    write_bytes(path, "\n".join(header).encode("ascii") + mesh.vertices.astype("<f4").tobytes() + rows.tobytes())


def write_points(path: Path, points: NDArray[np.float64]) -> None:
    """A point cloud [N,3] as an OBJ file without faces."""
    write_text(path, _vertex_lines(points))


def _vertex_lines(vertices: NDArray[np.float64], decimals: int = 6) -> str:
    number = f"%.{decimals}f"
    return (f"v {number} {number} {number}\n" * len(vertices)) % tuple(vertices.ravel().tolist())


def _read(path: Path) -> TriangleMesh:
    kind = path.suffix.lower()
    if kind not in _PARSERS:
        raise ValueError(f"{path}: expected a mesh ending in .obj or .ply")
    name, parse = _PARSERS[kind]
    try:
        return TriangleMesh(*parse(read_bytes(path)))
    except OSError:
        raise
    except ValueError as error:
        problem = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: not a readable {name} file ({problem})") from None


_PARSERS = {".obj": ("OBJ", parse_obj), ".ply": ("PLY", parse_ply)}
