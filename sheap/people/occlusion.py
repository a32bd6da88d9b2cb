"""How light finds its way to a head: what of the sphere each vertex sees, and what hair and things worn let through.

The head's view past itself is the mean head's, measured once a process in fine depth maps, so that lids, brows, nose
and lips throw contact shadows. What one person adds (hair, a cap, a hand) is a cloud of small blockers, whose
transmittance is summed along each of a few directions as in deep opacity maps (Yuksel and Keyser 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sheap.people.lighting import Lighting, sphere_directions

Array = NDArray[np.float32]

NUM_DIRECTIONS = 192
"""Directions in which a head's own shadows are known: one about every 15 degrees."""
NUM_COARSE = 24
"""Directions in which hair and worn things are known to block."""

_SOURCES = 2048
_MAP = 384
"""Side of the head's depth maps: 0.33 m across, one cell is 0.9 mm."""
_GRID, _LAYERS = 32, 24
"""Cells across a cloud of blockers, and layers along the light."""


@dataclass(frozen=True)
class _Sphere:
    """fine [D, 3] and coarse [C, 3] directions; coarse_of [D]: the coarse one nearest to each fine one. sources
    [S, 3]: where radiance is evaluated, ordered by their nearest fine (coarse) direction, whose runs start at
    fine_starts [D] (coarse_order takes them to the coarse order, with coarse_starts [C])."""

    fine: Array
    coarse: Array
    coarse_of: NDArray[np.int64]
    sources: Array
    fine_starts: NDArray[np.int64]
    coarse_order: NDArray[np.int64]
    coarse_starts: NDArray[np.int64]


@cache
def _sphere() -> _Sphere:
    fine, coarse, sources = (sphere_directions(count) for count in (NUM_DIRECTIONS, NUM_COARSE, _SOURCES))
    nearest = cKDTree(fine).query(sources)[1]
    order = np.argsort(nearest, kind="stable")
    sources, nearest = sources[order], nearest[order]
    near_coarse = cKDTree(coarse).query(sources)[1]
    coarse_order = np.argsort(near_coarse, kind="stable")
    return _Sphere(
        fine, coarse, cKDTree(coarse).query(fine)[1], sources, np.searchsorted(nearest, np.arange(NUM_DIRECTIONS)),
        coarse_order, np.searchsorted(near_coarse[coarse_order], np.arange(NUM_COARSE)),
    )  # fmt: skip


@dataclass(frozen=True)
class ArrivingLight:
    """Light over pi by direction, as the head sees it: fine [D, 3] and coarse [C, 3]. A white surface that sees all
    directions has the sum over them of cosine times light."""

    fine: Array
    coarse: Array


def arriving_light(lighting: Lighting, head_to_world: NDArray) -> ArrivingLight:
    """Sums a light around the world into the head's directions, head_to_world [3, 3]."""
    sphere = _sphere()
    radiance = lighting.radiance(sphere.sources @ np.asarray(head_to_world, np.float32).T) * np.float32(4 / _SOURCES)
    return ArrivingLight(
        np.add.reduceat(radiance, sphere.fine_starts), np.add.reduceat(radiance[sphere.coarse_order], sphere.coarse_starts)
    )


def head_visibility(vertices: NDArray, normals: NDArray, faces: NDArray, lift: NDArray) -> Array:
    """What of each direction the vertices of a mesh see past the mesh itself: [N, D] in 0..1. normals [N, 3]: unit.

    lift [N]: how far (m) above its vertex each one looks from: far enough not to see the mesh's own roughness.
    """
    centre = ((vertices.min(0) + vertices.max(0)) / 2).astype(np.float32)
    radius = np.float32(np.linalg.norm(vertices - centre, axis=1).max())
    return _depth_map_visibility(
        np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(normals, np.float32), faces.astype(np.int32),
        lift.astype(np.float32), _sphere().fine, centre, radius,
    )  # fmt: skip


@dataclass(frozen=True)
class Blockers:
    """A cloud of what stops light: points [M, 3] (m) and areas [M] (m2, the part of it that is solid)."""

    points: Array
    areas: Array

    @classmethod
    def of_mesh(cls, vertices: Array, faces: NDArray, solidity: float, step: int = 1) -> Blockers:
        """Points on a mesh: the middles of every `step`-th face for fine ones, several points on large ones."""
        a, b, c = (vertices[faces[::step, k]] for k in range(3))
        areas = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
        count = np.clip(areas / 5e-5, 1, 200).astype(int)
        which = np.repeat(np.arange(len(areas)), count)
        # Spread over the face by the plastic number's sequence; a single point is its middle.
        index = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        u, v = (1 / 3 + 0.7548776662 * index) % 1, (1 / 3 + 0.5698402910 * index) % 1
        flip = u + v > 1
        u, v = np.where(flip, 1 - u, u)[:, None], np.where(flip, 1 - v, v)[:, None]
        points = a[which] + u * (b - a)[which] + v * (c - a)[which]
        return cls(points.astype(np.float32), (step * solidity * areas / count)[which].astype(np.float32))

    @classmethod
    def joined(cls, clouds: list[Blockers]) -> Blockers:
        return cls(
            np.concatenate([np.zeros((0, 3), np.float32), *(cloud.points for cloud in clouds)]),
            np.concatenate([np.zeros(0, np.float32), *(cloud.areas for cloud in clouds)]),
        )


def transmittance(
    vertices: Array, normals: Array, loose: Array, around: Blockers, head: Blockers
) -> tuple[Array, Array]:
    """The share of light that comes from each coarse direction through what is around a head to its vertices [N, 3]
    (with normals [N, 3]): [N, C], and through that and the head itself to loose points [R, 3]: [R, C]."""
    points = np.concatenate([around.points, head.points])
    low, high = points.min(0), points.max(0)
    radius = np.float32(np.linalg.norm(high - low) / 2 + 1e-3)
    return _cloud_transmittance(
        np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(normals, np.float32),
        np.ascontiguousarray(loose, np.float32), around.points, around.areas, head.points, head.areas, _sphere().coarse,
        ((low + high) / 2).astype(np.float32), radius,
    )  # fmt: skip


def thinned(visibility: Array, let_through: Array) -> Array:
    """visibility [N, D] behind what lets through [N, C]: [N, D]."""
    return _thinned(visibility, let_through, _sphere().coarse_of)


def irradiance(normals: Array, visibility: Array, light: Array) -> tuple[Array, Array]:
    """Light over pi that arrives at surfaces with normals [N, 3] (head axes) that see [N, D] of the light [D, 3]:
    ([N, 3], and its share of what would arrive without anything in the way [N])."""
    sphere = _sphere()
    directions = sphere.fine if visibility.shape[1] == NUM_DIRECTIONS else sphere.coarse
    return _irradiance(
        np.ascontiguousarray(normals, np.float32), visibility, np.ascontiguousarray(directions.T),
        np.ascontiguousarray(light.T),
    )  # fmt: skip


@numba.njit(cache=True, fastmath=True, nogil=True)
def _irradiance(normals, visibility, directions, light):
    count, num = visibility.shape
    out = np.empty((count, 3), np.float32)
    share = np.empty(count, np.float32)
    dx, dy, dz = directions[0], directions[1], directions[2]
    red, green, blue = light[0], light[1], light[2]
    for n in range(count):
        nx, ny, nz = normals[n, 0], normals[n, 1], normals[n, 2]
        r = g = b = full = np.float32(0.0)
        seen = visibility[n]
        for d in range(num):
            cosine = max(nx * dx[d] + ny * dy[d] + nz * dz[d], np.float32(0.0))
            full += cosine * green[d]
            cosine *= seen[d]
            r += cosine * red[d]
            g += cosine * green[d]
            b += cosine * blue[d]
        out[n, 0], out[n, 1], out[n, 2] = r, g, b
        share[n] = g / max(full, np.float32(1e-6))
    return out, share


@numba.njit(cache=True, fastmath=True, nogil=True)
def _thinned(visibility, let_through, coarse_of):
    out = np.empty_like(visibility)
    for n in range(visibility.shape[0]):
        row = let_through[n]
        for d in range(visibility.shape[1]):
            out[n, d] = visibility[n, d] * row[coarse_of[d]]
    return out


@numba.njit(cache=True, inline="always")
def _across(direction):
    """Two unit axes across a direction."""
    wx, wy, wz = direction[0], direction[1], direction[2]
    if abs(wy) < 0.9:
        ax, ay, az = wz, np.float32(0.0), -wx
    else:
        ax, ay, az = np.float32(0.0), -wz, wy
    length = np.float32(1.0) / np.sqrt(ax * ax + ay * ay + az * az)
    ax, ay, az = ax * length, ay * length, az * length
    return ax, ay, az, wy * az - wz * ay, wz * ax - wx * az, wx * ay - wy * ax


@numba.njit(cache=True, fastmath=True, nogil=True)
def _cloud_transmittance(vertices, normals, loose, points, areas, head_points, head_areas, directions, centre, radius):
    to_head = np.ones((vertices.shape[0], directions.shape[0]), np.float32)
    to_loose = np.empty((loose.shape[0], directions.shape[0]), np.float32)
    depth = np.zeros((_GRID + 1, _GRID + 1, _LAYERS + 1), np.float32)
    scale = np.float32((_GRID - 1) / (2.0 * radius))
    layer = np.float32(_LAYERS / (2.0 * radius))
    axes = np.empty((3, 3), np.float32)
    offset = np.empty(3, np.float32)
    for d in range(directions.shape[0]):
        ax, ay, az, bx, by, bz = _across(directions[d])
        axes[0, 0], axes[0, 1], axes[0, 2] = ax * scale, ay * scale, az * scale
        axes[1, 0], axes[1, 1], axes[1, 2] = bx * scale, by * scale, bz * scale
        for c in range(3):
            axes[2, c] = directions[d, c] * layer
        for k in range(3):
            shift = axes[k, 0] * centre[0] + axes[k, 1] * centre[1] + axes[k, 2] * centre[2]
            offset[k] = np.float32(_GRID / 2 if k < 2 else _LAYERS / 2) - shift
        depth[:] = 0.0
        _splat(points, areas, axes, offset, scale * scale, depth)
        _sum_from_light(depth)
        for i in range(vertices.shape[0]):
            # The normals of a pose differ a little from those at rest.
            cosine = normals[i, 0] * directions[d, 0] + normals[i, 1] * directions[d, 1] + normals[i, 2] * directions[d, 2]
            if cosine > -0.3:
                to_head[i, d] = _through(vertices, i, axes, offset, np.float32(0.004) * layer, depth)
        _unsum(depth)
        _splat(head_points, head_areas, axes, offset, scale * scale, depth)
        _sum_from_light(depth)
        for i in range(loose.shape[0]):
            to_loose[i, d] = _through(loose, i, axes, offset, np.float32(0.008) * layer, depth)
    return to_head, to_loose


@numba.njit(cache=True, fastmath=True, inline="always")
def _splat(points, areas, axes, offset, per_cell, depth):
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        u = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z + offset[0]
        v = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z + offset[1]
        k = min(max(int(axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + offset[2]), 0), _LAYERS - 1)
        iu, iv = int(u), int(v)
        fu, fv = u - iu, v - iv
        area = areas[i] * per_cell
        depth[iv, iu, k] += area * (1 - fu) * (1 - fv)
        depth[iv, iu + 1, k] += area * fu * (1 - fv)
        depth[iv + 1, iu, k] += area * (1 - fu) * fv
        depth[iv + 1, iu + 1, k] += area * fu * fv


@numba.njit(cache=True, fastmath=True, inline="always")
def _sum_from_light(depth):
    """What lies in each layer becomes what lies in it and above, where light comes from."""
    for v in range(_GRID + 1):
        for u in range(_GRID + 1):
            for k in range(_LAYERS - 1, -1, -1):
                depth[v, u, k] += depth[v, u, k + 1]


@numba.njit(cache=True, fastmath=True, inline="always")
def _unsum(depth):
    for v in range(_GRID + 1):
        for u in range(_GRID + 1):
            for k in range(_LAYERS):
                depth[v, u, k] -= depth[v, u, k + 1]


@numba.njit(cache=True, fastmath=True, inline="always")
def _through(places, i, axes, offset, clearance, depth):
    """The share of light that reaches a place through what is above it."""
    x, y, z = places[i, 0], places[i, 1], places[i, 2]
    u = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z + offset[0]
    v = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z + offset[1]
    at = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + offset[2] + clearance
    if u < 0 or v < 0 or u >= _GRID or v >= _GRID or at >= _LAYERS:
        return np.float32(1.0)
    # Half of its own layer lies above a place on average: the next boundary is as good, and one look-up.
    k = int(max(at, np.float32(0.0)) + np.float32(0.5))
    iu, iv = int(u), int(v)
    fu, fv = u - iu, v - iv
    tau = (1 - fv) * ((1 - fu) * depth[iv, iu, k] + fu * depth[iv, iu + 1, k])
    tau += fv * ((1 - fu) * depth[iv + 1, iu, k] + fu * depth[iv + 1, iu + 1, k])
    return np.exp(-tau)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _depth_map_visibility(vertices, normals, faces, lift, directions, centre, radius):
    out = np.zeros((vertices.shape[0], directions.shape[0]), np.float32)
    depth = np.empty((_MAP, _MAP), np.float32)
    cells = np.empty((vertices.shape[0], 3), np.float32)
    scale = np.float32(_MAP / (2.0 * radius))
    bias = np.float32(0.0012)
    for d in range(directions.shape[0]):
        ax, ay, az, bx, by, bz = _across(directions[d])
        wx, wy, wz = directions[d, 0], directions[d, 1], directions[d, 2]
        for i in range(vertices.shape[0]):
            x, y, z = vertices[i, 0] - centre[0], vertices[i, 1] - centre[1], vertices[i, 2] - centre[2]
            cells[i, 0] = (x * ax + y * ay + z * az) * scale + _MAP / 2
            cells[i, 1] = (x * bx + y * by + z * bz) * scale + _MAP / 2
            cells[i, 2] = x * wx + y * wy + z * wz
        depth[:] = -1e9
        for f in range(faces.shape[0]):
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, x1, y1 = cells[i0, 0], cells[i0, 1], cells[i1, 0], cells[i1, 1]
            x2, y2 = cells[i2, 0], cells[i2, 1]
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if area == 0.0:
                continue
            inverse = 1.0 / area
            left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, _MAP - 1)
            top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, _MAP - 1)
            for y in range(top, bottom + 1):
                for x in range(left, right + 1):
                    w0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * inverse
                    w1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * inverse
                    w2 = 1.0 - w0 - w1
                    if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                        continue
                    near = w0 * cells[i0, 2] + w1 * cells[i1, 2] + w2 * cells[i2, 2]
                    if near > depth[y, x]:
                        depth[y, x] = near
        for i in range(vertices.shape[0]):
            cosine = normals[i, 0] * wx + normals[i, 1] * wy + normals[i, 2] * wz
            # A pose turns normals a little: directions just behind the surface count as its horizon.
            if cosine < -0.3:
                continue
            rise = lift[i] + np.float32(0.0012) * max(np.float32(0.3) - cosine, np.float32(0.0))
            # Start a little above the surface, so that a vertex does not block itself.
            x = vertices[i, 0] + rise * normals[i, 0] - centre[0]
            y = vertices[i, 1] + rise * normals[i, 1] - centre[1]
            z = vertices[i, 2] + rise * normals[i, 2] - centre[2]
            gx = (x * ax + y * ay + z * az) * scale + _MAP / 2
            gy = (x * bx + y * by + z * bz) * scale + _MAP / 2
            here = x * wx + y * wy + z * wz + bias
            cx, cy = int(gx), int(gy)
            free = 0.0
            for dy in range(2):
                for dx in range(2):
                    qx, qy = min(max(cx + dx, 0), _MAP - 1), min(max(cy + dy, 0), _MAP - 1)
                    weight = (dx * (gx - cx) + (1 - dx) * (1 - gx + cx)) * (dy * (gy - cy) + (1 - dy) * (1 - gy + cy))
                    if depth[qy, qx] <= here:
                        free += weight
            out[i, d] = min(max(free, 0.0), 1.0)
    return out
