"""Simple solids for things people wear and hold: tubes, boxes, balls and sheets, as triangle meshes with normals and
UVs."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Solid:
    """vertices, normals [N, 3] (m, unit), faces [F, 3] (counter-clockwise from outside), corner_uv [F, 3, 2]."""

    vertices: Array
    normals: Array
    faces: NDArray[np.int32]
    corner_uv: Array

    def moved(self, rotation: Floats, translation: Floats) -> Solid:
        """Rotated by [3, 3], then shifted by [3]."""
        rotation = np.asarray(rotation, np.float32)
        vertices = self.vertices @ rotation.T + np.asarray(translation, np.float32)
        return Solid(vertices.astype(np.float32), self.normals @ rotation.T, self.faces, self.corner_uv)


def joined(solids: list[Solid]) -> Solid:
    """One mesh of several."""
    starts = np.cumsum([0] + [len(s.vertices) for s in solids])[:-1]
    return Solid(
        np.concatenate([s.vertices for s in solids]),
        np.concatenate([s.normals for s in solids]),
        np.concatenate([s.faces + np.int32(start) for s, start in zip(solids, starts)]),
        np.concatenate([s.corner_uv for s in solids]),
    )


def grid_solid(points: Floats, *, wrap: bool = False) -> Solid:
    """A sheet of points [R, C, 3]; seen from outside, rows run down and columns to the right. wrap: the last column
    meets the first."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    if wrap:
        index = np.concatenate([index, index[:, :1]], 1)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    u = np.linspace(0, 1, index.shape[1], dtype=np.float32)
    v = np.linspace(0, 1, rows, dtype=np.float32)
    uv = np.stack(np.broadcast_arrays(u[None], v[:, None]), -1)
    corners = np.stack([uv[:-1, :-1], uv[1:, :-1], uv[1:, 1:], uv[:-1, 1:]], 2).reshape(-1, 4, 2)
    corner_uv = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    vertices = points.reshape(-1, 3).astype(np.float32)
    return Solid(vertices, smooth_normals(vertices, faces), faces, corner_uv.astype(np.float32))


def tube(line: Floats, radii: Floats, sides: int = 8, *, closed: bool = False) -> Solid:
    """A tube around a line [P, 3] with radii [P]; rounded by small end radii; closed: the line's end meets its
    start."""
    line = np.asarray(line, np.float32)
    radii = np.broadcast_to(np.asarray(radii, np.float32), len(line))
    if closed:
        line, radii = np.concatenate([line, line[:1]]), np.concatenate([radii, radii[:1]])
    tangent = np.gradient(line, axis=0)
    if closed:
        tangent[0] = tangent[-1] = line[1] - line[-2]
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-9
    frames = [_across(tangent[0])]
    for t in tangent[1:]:
        # Carried along without twisting.
        side = frames[-1] - (frames[-1] @ t) * t
        frames.append(side / (np.linalg.norm(side) + 1e-9))
    first = np.stack(frames)
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    return grid_solid(line[:, None] - radii[:, None, None] * ring[:, ::-1], wrap=True)


def capsule(line: Floats, radius_start: float, radius_end: float, sides: int = 10) -> Solid:
    """A tube with round ends along a line [P, 3] (a finger, an arm)."""
    line = np.asarray(line, np.float32)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 10)
    body = np.stack([np.interp(at, length, line[:, k]) for k in range(3)], -1)
    radii = np.linspace(radius_start, radius_end, len(body))
    head, tail = body[0] - body[1], body[-1] - body[-2]
    head, tail = head / np.linalg.norm(head), tail / np.linalg.norm(tail)
    angles = np.radians([88, 65, 40, 18])
    start = body[0] + radius_start * np.sin(angles)[:, None] * head
    end = body[-1] + radius_end * np.sin(angles[::-1])[:, None] * tail
    return tube(
        np.concatenate([start, body, end]),
        np.concatenate([radius_start * np.cos(angles), radii, radius_end * np.cos(angles[::-1])]), sides,
    )  # fmt: skip


def ball(radii: ArrayLike, rows: int = 12, columns: int = 18) -> Solid:
    """An ellipsoid with half axes [3]."""
    polar = np.linspace(0.001, np.pi - 0.001, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    unit = np.stack(
        [np.sin(polar) * np.sin(around), np.cos(polar) * np.ones_like(around), np.sin(polar) * np.cos(around)], -1
    )
    return grid_solid(unit * np.asarray(radii), wrap=True)


def rounded_box(size: Array, corner: float) -> Solid:
    """A box of size [3] whose outline in x and y has round corners: a slab such as a phone."""
    half = np.asarray(size) / 2
    outline = []
    for sx, sy, first in ((1, 1, 0), (-1, 1, 90), (-1, -1, 180), (1, -1, 270)):
        for degrees in np.linspace(first, first + 90, 5):
            a = np.radians(degrees)
            outline.append((sx * (half[0] - corner) + corner * np.cos(a), sy * (half[1] - corner) + corner * np.sin(a)))
    ring = np.array(outline)[::-1]
    rim = np.concatenate([ring, np.zeros((len(ring), 1))], 1)
    inner = rim * [0.97, 0.985, 1]
    front, back = np.array([0, 0, half[2]]), np.array([0, 0, -half[2]])
    middle = np.zeros_like(rim)
    edge = 0.8
    sheet = np.stack(
        [middle + front, inner + front, rim + edge * front, rim + edge * back, inner + back, middle + back]
    )
    solid = grid_solid(sheet[:, ::-1], wrap=True)
    # Textures see it from the front.
    flat = np.stack([0.5 + solid.vertices[:, 0] / size[0], 0.5 - solid.vertices[:, 1] / size[1]], -1)
    return Solid(solid.vertices, solid.normals, solid.faces, flat[solid.faces].astype(np.float32))


def smooth_normals(vertices: Floats, faces: NDArray) -> Array:
    """Area-weighted vertex normals [N, 3]; 0 for a vertex without faces."""
    return _summed_normals(np.ascontiguousarray(vertices, np.float32), faces)


@numba.njit(cache=True, nogil=True)
def _summed_normals(vertices, faces):
    total = np.zeros_like(vertices)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        bx, by, bz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in (i, j, k):
            total[corner, 0] += nx
            total[corner, 1] += ny
            total[corner, 2] += nz
    for v in range(total.shape[0]):
        length = np.sqrt(total[v, 0] ** 2 + total[v, 1] ** 2 + total[v, 2] ** 2) + np.float32(1e-12)
        total[v] /= length
    return total


def _across(direction: Array) -> Array:
    other = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    side = np.cross(direction, other)
    return side / np.linalg.norm(side)
