"""Axes and rigid motion: MakeHuman's space to ours, and one identity's pose to another's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EYES_TO_ORIGIN = 0.06
"""Metres from the midpoint of the eyes back to the head's origin."""


def to_head_axes(points: Array) -> Array:
    """Points or offsets [..., 3] from `anny`'s axes (z up, looking along -y) to ours (y up, looking along +z)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def vertex_areas(vertices: Array, faces: NDArray[np.int64]) -> Array:
    """A third of the area of the triangles around each point: [P], square metres."""
    corners = vertices[faces]
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    out = np.zeros(len(vertices))
    np.add.at(out, faces.reshape(-1), np.repeat(areas / 3, 3))
    return out


def rigid_fit(source: Array, target: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Rotation [..., 3, 3] and translation [..., 3] that move `source` [..., N, 3] onto `target` [N, 3] in the weighted
    least-squares sense (Kabsch; Umeyama 1991 without scale). weights: [N]."""
    weights = np.ones(source.shape[-2]) if weights is None else weights
    weights = weights / weights.sum()
    source_centre = np.einsum("n,...nc->...c", weights, source)
    target_centre = np.einsum("n,...nc->...c", weights, target)
    covariance = np.einsum(
        "n,...ni,...nj->...ij", weights, source - source_centre[..., None, :], target - target_centre[..., None, :]
    )
    u, _, vt = np.linalg.svd(covariance)
    flip = np.ones(u.shape[:-1])
    flip[..., 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = np.swapaxes(vt, -1, -2) @ (flip[..., None] * np.swapaxes(u, -1, -2))
    return rotation, target_centre - np.einsum("...ij,...j->...i", rotation, source_centre)


def remove_rigid_motion(shapes: Array, reference: Array, weights: Array) -> Array:
    """Each of `shapes` [S, N, 3], moved rigidly onto `reference` [N, 3] (weights [N] say which vertices decide)."""
    rotation, translation = rigid_fit(shapes, reference, weights)
    return np.einsum("sij,snj->sni", rotation, shapes) + translation[:, None]


def without_small_motions(displacements: Array, points: Array, weights: Array) -> Array:
    """Small displacements [R, P, 3] of points [P, 3] less the rigid motion nearest to each (weights [P])."""
    centred = points - np.average(points, axis=0, weights=weights)
    turns = np.stack([np.cross(axis, centred) for axis in np.eye(3)], axis=2)
    columns = np.concatenate([np.tile(np.eye(3), (len(points), 1, 1)), turns], axis=2)
    weighted = weights[:, None, None] * columns
    normal = np.einsum("nxp,nxq->pq", columns, weighted)
    motions = np.linalg.solve(normal, np.einsum("nxp,rnx->pr", weighted, displacements, optimize=True))
    return displacements - np.einsum("nxp,pr->rnx", columns, motions)
