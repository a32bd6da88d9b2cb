"""Which directions each vertex of a head sees: soft shadows under brows, nose, chin and hair, for any light."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from sheap.people.lighting import Lighting, sphere_directions

NUM_DIRECTIONS = 72
"""Directions light may come from, spread evenly: one about every 24 degrees."""

_GRID = 128
"""Side of the depth maps. At 0.45 m across, one cell is 3.5 mm."""


class Visibility:
    """cosines [N, D]: the clamped cosine towards each direction where it is free, and the same without any blocking."""

    def __init__(self, free: NDArray[np.float32], unblocked: NDArray[np.float32]) -> None:
        self.free = free
        self.unblocked = unblocked

    def share(self, lighting: Lighting, head_to_world: NDArray) -> NDArray[np.float32]:
        """The share of light that arrives at each vertex [N] when the head is rotated by head_to_world [3, 3]."""
        directions = sphere_directions(self.free.shape[1]) @ np.asarray(head_to_world, np.float32).T
        brightness = lighting.radiance(directions).mean(1)
        return (self.free @ brightness) / np.maximum(self.unblocked @ brightness, 1e-6)


def measure_visibility(
    vertices: NDArray, normals: NDArray, blocker_vertices: NDArray, blocker_faces: NDArray, blocker_solidity: NDArray
) -> Visibility:
    """Visibility of vertices [N, 3] (m, with unit normals [N, 3]) past blockers (a mesh [B, 3], [F, 3]).

    blocker_solidity [F] in 0..1: the share of directions in which a face blocks at all (hair lets light through).
    """
    directions = sphere_directions(NUM_DIRECTIONS)
    centre = (blocker_vertices.min(0) + blocker_vertices.max(0)) / 2
    radius = float(np.linalg.norm(blocker_vertices - centre, axis=1).max())
    free = _free_cosines(
        vertices.astype(np.float32), normals.astype(np.float32), blocker_vertices.astype(np.float32),
        blocker_faces.astype(np.int32), blocker_solidity.astype(np.float32), directions, centre.astype(np.float32),
        np.float32(radius),
    )  # fmt: skip
    unblocked = np.maximum(normals.astype(np.float32) @ directions.T, 0)
    return Visibility(free, unblocked)


@numba.njit(cache=True, fastmath=True)
def _free_cosines(vertices, normals, blockers, faces, solidity, directions, centre, radius):
    count = directions.shape[0]
    out = np.zeros((vertices.shape[0], count), np.float32)
    depth = np.empty((_GRID, _GRID), np.float32)
    cells = np.empty((blockers.shape[0], 3), np.float32)
    scale = np.float32(_GRID / (2.0 * radius))
    bias = np.float32(0.004)
    for d in range(count):
        wx, wy, wz = directions[d, 0], directions[d, 1], directions[d, 2]
        # Two axes across the direction.
        if abs(wy) < 0.9:
            ax, ay, az = wz, np.float32(0.0), -wx
        else:
            ax, ay, az = np.float32(0.0), -wz, wy
        length = 1.0 / np.sqrt(ax * ax + ay * ay + az * az)
        ax, ay, az = ax * length, ay * length, az * length
        bx, by, bz = wy * az - wz * ay, wz * ax - wx * az, wx * ay - wy * ax
        for i in range(blockers.shape[0]):
            x, y, z = blockers[i, 0] - centre[0], blockers[i, 1] - centre[1], blockers[i, 2] - centre[2]
            cells[i, 0] = (x * ax + y * ay + z * az) * scale + _GRID / 2
            cells[i, 1] = (x * bx + y * by + z * bz) * scale + _GRID / 2
            cells[i, 2] = x * wx + y * wy + z * wz
        depth[:] = -1e9
        for f in range(faces.shape[0]):
            if solidity[f] < 1.0 and ((f * 97 + d * 61) % 100) >= 100 * solidity[f]:
                continue
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, x1, y1 = cells[i0, 0], cells[i0, 1], cells[i1, 0], cells[i1, 1]
            x2, y2 = cells[i2, 0], cells[i2, 1]
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if area == 0.0:
                continue
            inverse = 1.0 / area
            left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, _GRID - 1)
            top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, _GRID - 1)
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
            if cosine <= 0.0:
                continue
            # Start a little above the surface, so that a vertex does not block itself.
            x = vertices[i, 0] + 0.003 * normals[i, 0] - centre[0]
            y = vertices[i, 1] + 0.003 * normals[i, 1] - centre[1]
            z = vertices[i, 2] + 0.003 * normals[i, 2] - centre[2]
            gx = (x * ax + y * ay + z * az) * scale + _GRID / 2
            gy = (x * bx + y * by + z * bz) * scale + _GRID / 2
            here = x * wx + y * wy + z * wz + bias
            cx, cy = int(gx), int(gy)
            open_cells = 0.0
            for dy in range(2):
                for dx in range(2):
                    qx, qy = min(max(cx + dx, 0), _GRID - 1), min(max(cy + dy, 0), _GRID - 1)
                    wgt = (dx * (gx - cx) + (1 - dx) * (1 - gx + cx)) * (dy * (gy - cy) + (1 - dy) * (1 - gy + cy))
                    if depth[qy, qx] <= here:
                        open_cells += wgt
            out[i, d] = cosine * min(max(open_cells, 0.0), 1.0)
    return out
