"""Closest points on a triangle mesh: an axis-aligned box tree, compiled, and the slow search it is tested against.

The tree is built once for a mesh and never moved: a caller who moves the mesh by a similarity moves the query points by
its inverse instead (see now_refinement.py).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.closest_point_kernels import build_tree, query_tree
from sheap.evaluation.mesh_checks import check_mesh
from sheap.evaluation.time_limit import TimeLimit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF_FACES = 4
"""Most faces of a leaf: 1 to 8 took the same time on the NoW reference pairs, 16 a fifth more."""

CHUNK_POINTS = 2048
"""Queries are split into chunks of this size whatever the number of threads, so that sums do not depend on it."""

SLIVER_RATIO = 1e-12
"""A triangle whose area is below this share of its longest edge squared is searched as its three edges."""


@dataclass(frozen=True)
class ClosestPoints:
    """What a query of P points found.

    distances [P] in the mesh's unit; points [P,3] on the surface; faces [P] index of the face each lies on.
    """

    distances: Floats
    points: Floats
    faces: Ints


class TriangleTree:
    """The box tree of one mesh. Immutable after construction, safe to query from several threads.

    vertices [N,3], faces [F,3] (F at least 1). Raises ValueError for an empty or malformed mesh. Degenerate triangles
    count as the segments or points they have shrunk to. time_limit: searches give up when it ends, with its TookTooLong (boxes
    of faces that skip all over a mesh overlap, so that every search goes through all of them).
    """

    def __init__(self, vertices: Floats, faces: NDArray[np.integer], time_limit: TimeLimit | None = None) -> None:
        check_mesh(vertices, faces)
        self.time_limit = time_limit
        corners = np.ascontiguousarray(np.asarray(vertices, dtype=np.float64)[np.asarray(faces, dtype=np.int64)])
        self.boxes, self.skip, self.first, self.count, self.order = build_tree(corners, LEAF_FACES)
        self.corners = np.ascontiguousarray(corners[self.order])
        self.is_sliver = _slivers(self.corners)
        self.num_faces = len(corners)

    @property
    def num_degenerate(self) -> int:
        """Number of faces without an area."""
        return int(self.is_sliver.sum())

    def query(self, points: Floats, num_threads: int = 1) -> ClosestPoints:
        """The closest surface point of every point [P,3]."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"points: expected [P,3], got {list(points.shape)}")
        if not np.isfinite(points).all():
            raise ValueError("points: NaN or infinite coordinates")
        distances = np.empty(len(points))
        found = np.empty((len(points), 3))
        slots = np.zeros(len(points), dtype=np.int64)

        def search(chunk: slice) -> None:
            query_tree(points[chunk], *self.arrays, distances[chunk], found[chunk], slots[chunk])

        for_each_chunk(search, len(points), num_threads, self.time_limit)
        return ClosestPoints(distances, found, self.order[slots])

    @property
    def arrays(self) -> tuple[Floats, Ints, Ints, Ints, Floats, NDArray[np.bool_]]:
        """The flat arrays that compiled code walks: boxes, skip, first, count, corners, is_sliver."""
        return self.boxes, self.skip, self.first, self.count, self.corners, self.is_sliver


def closest_points_reference(vertices: Floats, faces: Ints, points: Floats) -> ClosestPoints:
    """The same answer by plain numpy over all pairs of points and faces: for tests, O(P F) in time and memory.

    The nearest of: the foot of the perpendicular on each plane where it falls inside the triangle, and the nearest
    point of each edge. (Derived from scratch rather than by the region walk of the compiled search.)
    """
    corners = np.asarray(vertices, dtype=np.float64)[np.asarray(faces)]
    queries = np.asarray(points, dtype=np.float64)[:, None, :]
    candidates = []
    for start, end in ((0, 1), (1, 2), (2, 0)):
        origin, edge = corners[:, start], corners[:, end] - corners[:, start]
        length_squared = (edge**2).sum(-1)
        along = ((queries - origin) * edge).sum(-1) / np.where(length_squared > 0, length_squared, 1.0)
        candidates.append(origin + np.clip(along, 0.0, 1.0)[..., None] * edge)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    norm_squared = (normal**2).sum(-1)
    height = ((queries - corners[:, 0]) * normal).sum(-1) / np.where(norm_squared > 0, norm_squared, 1.0)
    foot = queries - height[..., None] * normal
    inside = norm_squared[None, :] > 0
    for start, end in ((0, 1), (1, 2), (2, 0)):
        side = np.cross(corners[:, end] - corners[:, start], foot - corners[:, start])
        inside = inside & ((side * normal).sum(-1) >= 0)
    candidates.append(np.where(inside[..., None], foot, candidates[0]))
    stacked = np.stack(candidates)
    squared = ((stacked - queries) ** 2).sum(-1)
    best = squared.min(axis=0).argmin(axis=1)
    row = np.arange(len(best))
    kind = squared[:, row, best].argmin(axis=0)
    return ClosestPoints(np.sqrt(squared[kind, row, best]), stacked[kind, row, best], best.astype(np.int64))


def for_each_chunk(
    work: Callable[[slice], None], num_points: int, num_threads: int, time_limit: TimeLimit | None = None
) -> None:
    """Calls `work` on fixed slices of `num_points`, on up to `num_threads` threads (compiled code frees the GIL).

    Raises TookTooLong between two slices when the time is up.
    """

    def within_limit(chunk: slice) -> None:
        if time_limit is not None:
            time_limit.check()
        work(chunk)

    chunks = [slice(start, min(start + CHUNK_POINTS, num_points)) for start in range(0, num_points, CHUNK_POINTS)]
    if num_threads <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            within_limit(chunk)
        return
    with ThreadPoolExecutor(min(num_threads, len(chunks))) as pool:
        list(pool.map(within_limit, chunks))


def _slivers(corners: Floats) -> NDArray[np.bool_]:
    edges = corners[:, (1, 2, 0)] - corners
    longest_squared = (edges**2).sum(-1).max(axis=1)
    double_area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    return double_area <= 2.0 * SLIVER_RATIO * longest_squared
