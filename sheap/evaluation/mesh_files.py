"""Triangle meshes on disk: Wavefront OBJ (read and written here, vertex order kept) and PLY (read by trimesh)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.mesh_checks import check_mesh, check_points
from sheap.files import write_text


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


def write_obj(path: Path, mesh: TriangleMesh, decimals: int = 6, note: str = "") -> None:
    """Writes vertices with so many decimals (six: a nanometre where the unit is millimetres) and 1-based faces.

    note: a comment at the top, one line. Raises NotWritten.
    """
    faces = ("f %d %d %d\n" * len(mesh.faces)) % tuple((mesh.faces + 1).ravel().tolist())
    write_text(path, (f"# {note}\n" if note else "") + _vertex_lines(mesh.vertices, decimals) + faces)


def write_points(path: Path, points: NDArray[np.float64]) -> None:
    """A point cloud [N,3] as an OBJ file without faces."""
    write_text(path, _vertex_lines(points))


def _vertex_lines(vertices: NDArray[np.float64], decimals: int = 6) -> str:
    number = f"%.{decimals}f"
    return (f"v {number} {number} {number}\n" * len(vertices)) % tuple(vertices.ravel().tolist())


def _read(path: Path) -> TriangleMesh:
    kind = path.suffix.lower()
    if kind == ".obj":
        return _read_obj(path)
    if kind == ".ply":
        return _read_ply(path)
    raise ValueError(f"{path}: expected a mesh ending in .obj or .ply")


def _read_obj(path: Path) -> TriangleMesh:
    vertex_lines: list[bytes] = []
    face_lines: list[bytes] = []
    for line in path.read_bytes().splitlines():
        if line.startswith((b"v ", b"v\t")):
            vertex_lines.append(line[2:])
        elif line.startswith((b"f ", b"f\t")):
            face_lines.append(line[2:])
    try:
        vertices = _vertices(vertex_lines)
        faces = _faces(face_lines, len(vertices))
    except ValueError as error:
        raise ValueError(f"{path}: not a readable OBJ file ({error})") from None
    return TriangleMesh(vertices, faces)


def _vertices(lines: list[bytes]) -> NDArray[np.float64]:
    """Positions: the first three numbers of every line; colours may follow."""
    if not lines:
        return np.zeros((0, 3))
    columns = len(lines[0].split())
    numbers = b" ".join(lines).split()
    if columns >= 3 and len(numbers) == columns * len(lines):
        return np.array(numbers, dtype=np.float64).reshape(-1, columns)[:, :3].copy()
    rows = [line.split()[:3] for line in lines]
    if any(len(row) < 3 for row in rows):
        raise ValueError("a vertex has fewer than three numbers")
    return np.array(rows, dtype=np.float64)


def _faces(lines: list[bytes], num_vertices: int) -> NDArray[np.int64]:
    """Vertex indices from 0; `v/vt/vn` keeps v, negative ones count from the end, polygons become fans."""
    if not lines:
        return np.zeros((0, 3), dtype=np.int64)
    corners = [line.split() for line in lines]
    if any(b"/" in line for line in lines):
        corners = [[part.split(b"/", 1)[0] for part in face] for face in corners]
    sizes = {len(face) for face in corners}
    if min(sizes) < 3:
        raise ValueError("a face has fewer than three corners")
    if sizes != {3}:
        corners = [[face[0], face[i], face[i + 1]] for face in corners for i in range(1, len(face) - 1)]
    faces = np.array(corners).astype(np.int64)
    if (faces == 0).any():
        raise ValueError("a face has index 0; OBJ counts from 1")
    return np.where(faces < 0, faces + num_vertices, faces - 1)


def _read_ply(path: Path) -> TriangleMesh:
    # Imported when it is needed: it takes a second, and most benchmarks have no PLY.
    import trimesh

    with path.open("rb") as file:
        try:
            loaded = trimesh.load(file, file_type="ply", process=False, maintain_order=True, skip_materials=True)
            faces = loaded.faces if isinstance(loaded, trimesh.Trimesh) else np.zeros((0, 3))
            return TriangleMesh(np.array(loaded.vertices, dtype=np.float64), np.array(faces, dtype=np.int64))
        except Exception as error:  # the parser raises whatever the broken byte leads to
            raise ValueError(f"{path}: not a readable PLY file ({type(error).__name__}: {error})") from None
