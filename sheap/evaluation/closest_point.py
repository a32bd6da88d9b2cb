"""Closest points on a triangle mesh: an axis-aligned box tree, compiled, and the slow search it is tested against.

The tree is built once for a mesh and never moved: a caller who moves the mesh by a similarity moves the query points by
its inverse instead (see now_refinement.py).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF_FACES = 4
"""Most faces of a leaf: 1 to 8 took the same time on the NoW reference pairs, 16 a fifth more."""

CHUNK_POINTS = 2048
"""Queries are split into chunks of this size whatever the number of threads, so that sums do not depend on it."""

SLIVER_RATIO = 1e-12
"""A triangle whose area is below this share of its longest edge squared is searched as its three edges."""

_STACK = 128


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
    count as the segments or points they have shrunk to.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        check_mesh(vertices, faces)
        corners = np.ascontiguousarray(np.asarray(vertices, dtype=np.float64)[np.asarray(faces, dtype=np.int64)])
        self.boxes, self.skip, self.first, self.count, self.order = _build(corners, LEAF_FACES)
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
            _query(points[chunk], *self.arrays, distances[chunk], found[chunk], slots[chunk])

        for_each_chunk(search, len(points), num_threads)
        return ClosestPoints(distances, found, self.order[slots])

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
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


def check_mesh(vertices: NDArray[np.generic], faces: NDArray[np.generic], name: str = "mesh") -> None:
    """Raises ValueError naming the field when the arrays do not describe a triangle mesh with finite vertices."""
    vertices, faces = np.asarray(vertices), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or len(vertices) == 0:
        raise ValueError(f"{name} vertices: expected [N,3] with N > 0, got {list(vertices.shape)}")
    if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0:
        raise ValueError(f"{name} faces: expected [F,3] with F > 0, got {list(faces.shape)}")
    if not np.issubdtype(faces.dtype, np.integer):
        raise ValueError(f"{name} faces: expected integers, got {faces.dtype}")
    broken = int((~np.isfinite(vertices).all(axis=1)).sum())
    if broken:
        raise ValueError(f"{name} vertices: {broken} of {len(vertices)} are NaN or infinite")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f"{name} faces: indices run from {faces.min()} to {faces.max()}, but there are {len(vertices)} vertices"
        )


def for_each_chunk(work: Callable[[slice], None], num_points: int, num_threads: int) -> None:
    """Calls `work` on fixed slices of `num_points`, on up to `num_threads` threads (compiled code frees the GIL)."""
    chunks = [slice(start, min(start + CHUNK_POINTS, num_points)) for start in range(0, num_points, CHUNK_POINTS)]
    if num_threads <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            work(chunk)
        return
    with ThreadPoolExecutor(min(num_threads, len(chunks))) as pool:
        list(pool.map(work, chunks))


def _slivers(corners: Floats) -> NDArray[np.bool_]:
    edges = corners[:, (1, 2, 0)] - corners
    longest_squared = (edges**2).sum(-1).max(axis=1)
    double_area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    return double_area <= 2.0 * SLIVER_RATIO * longest_squared


@njit(cache=True, nogil=True, error_model="numpy")
def _build(corners, leaf_faces):
    """Boxes in depth-first order: a node's left child follows it, `skip` is its right child (0 for a leaf).

    Every node is split at the median of its face centres along the longest side of their box.
    """
    num_faces = corners.shape[0]
    order = np.arange(num_faces)
    centres = np.empty((num_faces, 3))
    for face in range(num_faces):
        for axis in range(3):
            centres[face, axis] = (corners[face, 0, axis] + corners[face, 1, axis] + corners[face, 2, axis]) / 3.0
    limit = 2 * num_faces
    boxes = np.empty((limit, 6))
    skip = np.zeros(limit, dtype=np.int64)
    first = np.zeros(limit, dtype=np.int64)
    count = np.zeros(limit, dtype=np.int64)
    stack = np.empty((_STACK, 3), dtype=np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, num_faces, -1
    depth, used = 1, 0
    while depth > 0:
        depth -= 1
        start, end, parent = stack[depth, 0], stack[depth, 1], stack[depth, 2]
        node = used
        used += 1
        if parent >= 0:
            skip[parent] = node
        for axis in range(3):
            low, high = np.inf, -np.inf
            for slot in range(start, end):
                for corner in range(3):
                    value = corners[order[slot], corner, axis]
                    low, high = min(low, value), max(high, value)
            boxes[node, axis], boxes[node, 3 + axis] = low, high
        first[node] = start
        if end - start <= leaf_faces:
            count[node] = end - start
            continue
        widest, width = 0, -1.0
        for axis in range(3):
            low, high = np.inf, -np.inf
            for slot in range(start, end):
                value = centres[order[slot], axis]
                low, high = min(low, value), max(high, value)
            if high - low > width:
                widest, width = axis, high - low
        middle = (start + end) // 2
        _select(order, centres[:, widest], start, end, middle)
        # The right half waits below the left one, so the left child is the very next node.
        stack[depth, 0], stack[depth, 1], stack[depth, 2] = middle, end, node
        stack[depth + 1, 0], stack[depth + 1, 1], stack[depth + 1, 2] = start, middle, -1
        depth += 2
    return boxes[:used].copy(), skip[:used].copy(), first[:used].copy(), count[:used].copy(), order


@njit(cache=True, nogil=True, error_model="numpy")
def _select(order, keys, start, end, middle):
    """Reorders order[start:end] so that no key before `middle` is above one from it on (Hoare's selection).

    Written out because numba's own sort takes longer to compile than everything else here together.
    """
    low, high = start, end - 1
    while low < high:
        pivot = keys[order[(low + high) // 2]]
        left, right = low, high
        while left <= right:
            while keys[order[left]] < pivot:
                left += 1
            while keys[order[right]] > pivot:
                right -= 1
            if left <= right:
                kept = order[left]
                order[left] = order[right]
                order[right] = kept
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            return


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _on_segment(px, py, pz, ax, ay, az, bx, by, bz):
    ux, uy, uz = bx - ax, by - ay, bz - az
    length_squared = ux * ux + uy * uy + uz * uz
    share = 0.0
    if length_squared > 0.0:
        share = ((px - ax) * ux + (py - ay) * uy + (pz - az) * uz) / length_squared
        share = min(1.0, max(0.0, share))
    return ax + share * ux, ay + share * uy, az + share * uz


@njit(cache=True, nogil=True, error_model="numpy")
def _on_edges(px, py, pz, t):
    """Closest point of a triangle that has no area."""
    best = np.inf
    rx = ry = rz = 0.0
    for start in range(3):
        end = (start + 1) % 3
        x, y, z = _on_segment(px, py, pz, t[start, 0], t[start, 1], t[start, 2], t[end, 0], t[end, 1], t[end, 2])
        squared = (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2
        if squared < best:
            best, rx, ry, rz = squared, x, y, z
    return rx, ry, rz


@njit(cache=True, nogil=True, error_model="numpy")
def _on_triangle(px, py, pz, t):
    """Closest point of a triangle by the Voronoi regions of its corners, edges and face (Ericson 2005, 5.1.5)."""
    ax, ay, az = t[0, 0], t[0, 1], t[0, 2]
    abx, aby, abz = t[1, 0] - ax, t[1, 1] - ay, t[1, 2] - az
    acx, acy, acz = t[2, 0] - ax, t[2, 1] - ay, t[2, 2] - az
    x, y, z = px - ax, py - ay, pz - az
    d1 = abx * x + aby * y + abz * z
    d2 = acx * x + acy * y + acz * z
    if d1 <= 0.0 and d2 <= 0.0:
        return ax, ay, az
    x, y, z = px - t[1, 0], py - t[1, 1], pz - t[1, 2]
    d3 = abx * x + aby * y + abz * z
    d4 = acx * x + acy * y + acz * z
    if d3 >= 0.0 and d4 <= d3:
        return t[1, 0], t[1, 1], t[1, 2]
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        share = d1 / (d1 - d3)
        return ax + share * abx, ay + share * aby, az + share * abz
    x, y, z = px - t[2, 0], py - t[2, 1], pz - t[2, 2]
    d5 = abx * x + aby * y + abz * z
    d6 = acx * x + acy * y + acz * z
    if d6 >= 0.0 and d5 <= d6:
        return t[2, 0], t[2, 1], t[2, 2]
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        share = d2 / (d2 - d6)
        return ax + share * acx, ay + share * acy, az + share * acz
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        share = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return (
            t[1, 0] + share * (t[2, 0] - t[1, 0]),
            t[1, 1] + share * (t[2, 1] - t[1, 1]),
            t[1, 2] + share * (t[2, 2] - t[1, 2]),
        )
    scale = 1.0 / (va + vb + vc)
    v, w = vb * scale, vc * scale
    return ax + abx * v + acx * w, ay + aby * v + acy * w, az + abz * v + acz * w


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _box_distance_squared(px, py, pz, boxes, node):
    dx = max(boxes[node, 0] - px, 0.0, px - boxes[node, 3])
    dy = max(boxes[node, 1] - py, 0.0, py - boxes[node, 4])
    dz = max(boxes[node, 2] - pz, 0.0, pz - boxes[node, 5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True, error_model="numpy")
def closest_on_tree(px, py, pz, guess, boxes, skip, first, count, corners, is_sliver, stack, bounds):
    """Closest surface point of one query: (x, y, z, slot). `guess` is the slot of a face believed near: its distance
    bounds the search from the start, and any slot is correct. `stack` [128] int64 and `bounds` [128] are scratch."""
    best_slot = guess
    if is_sliver[guess]:
        bx, by, bz = _on_edges(px, py, pz, corners[guess])
    else:
        bx, by, bz = _on_triangle(px, py, pz, corners[guess])
    best = (px - bx) ** 2 + (py - by) ** 2 + (pz - bz) ** 2
    stack[0] = 0
    bounds[0] = _box_distance_squared(px, py, pz, boxes, 0)
    depth = 1
    while depth > 0:
        depth -= 1
        if bounds[depth] >= best:
            continue
        node = stack[depth]
        while skip[node] != 0:
            left, right = node + 1, skip[node]
            left_bound = _box_distance_squared(px, py, pz, boxes, left)
            right_bound = _box_distance_squared(px, py, pz, boxes, right)
            if right_bound < left_bound:
                left, right = right, left
                left_bound, right_bound = right_bound, left_bound
            if right_bound < best:
                stack[depth] = right
                bounds[depth] = right_bound
                depth += 1
            if left_bound >= best:
                break
            node = left
        else:
            for slot in range(first[node], first[node] + count[node]):
                if is_sliver[slot]:
                    x, y, z = _on_edges(px, py, pz, corners[slot])
                else:
                    x, y, z = _on_triangle(px, py, pz, corners[slot])
                squared = (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2
                if squared < best:
                    best, best_slot, bx, by, bz = squared, slot, x, y, z
    return bx, by, bz, best_slot


@njit(cache=True, nogil=True, error_model="numpy")
def _query(points, boxes, skip, first, count, corners, is_sliver, distances, found, slots):
    stack = np.empty(_STACK, dtype=np.int64)
    bounds = np.empty(_STACK)
    # Neighbours in the list are mostly neighbours in space: the last answer is the next guess.
    slot = 0
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        x, y, z, slot = closest_on_tree(
            px, py, pz, slot, boxes, skip, first, count, corners, is_sliver, stack, bounds
        )
        distances[i] = np.sqrt((px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2)
        found[i, 0], found[i, 1], found[i, 2] = x, y, z
        slots[i] = slot
