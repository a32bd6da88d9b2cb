"""What the outer skin's displacement means for everything else: eyeballs, lid linings, mouth, lashes and hair.

Eyeballs stay spheres, teeth and tongue one rigid block that may grow; linings stretch between what they join. All of it
is linear in the skin's displacement, so it holds for a mean as for every component.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from sheap.head.recipe.fields import cotangent_laplacian
from sheap.head.recipe.topology import HeadTopology

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Motion = Callable[[Array], "tuple[Array, Array]"]
"""From the outer skin's displacements [O, 3, C] to a block's centre [3] and parameters [4 or 7, C]."""

LID_REACH = 1.35
"""Eyeball radii from its centre within which skin belongs to the lids."""
SLIDE_WEIGHT = 0.3
"""What a lid's slip along the eyeball counts beside a change of its distance from it."""
MOUTH_REACH = 0.02
"""Metres around the middle of the lips (standard deviation) whose skin carries teeth and tongue."""
FLESH = 0.008
"""Metres (standard deviation): how near skin must be for what lies under it to go with it."""
NEIGHBOURS = 12
"""Skin points that carry a loose point."""


class Followers:
    """Extends displacements of the outer skin (points `outer` [O]) to all points of a head [P, 3] with region masks
    [P]."""

    def __init__(self, points: Array, head: HeadTopology, regions: dict[str, Mask], outer: NDArray[np.int64]) -> None:
        self._points, self._head = points, head
        self.outer = outer
        skin = regions["skin"]
        self._inner = np.setdiff1d(np.flatnonzero(skin), outer)
        eyes = [regions[f"eyeball_{side}"] for side in ("left", "right")]
        mouth = regions["teeth"] | regions["tongue"]
        self._blocks = [(np.flatnonzero(mask), self._eye_fit(mask)) for mask in eyes]
        self._blocks.append((np.flatnonzero(mouth), self._mouth_fit(regions["lips"])))
        # Sockets hang on their eyeballs; the mouth's lining and nostrils go with the skin over them, or would pierce it.
        side = np.where(points[self._inner, 0] > 0, 0, 1)
        self._inner_block = np.where(regions["eye_sockets"][self._inner], side, -1)
        self._flesh = _averages(points[skin], points[outer], FLESH)
        self._inner_of_skin = np.searchsorted(np.flatnonzero(skin), self._inner)
        self._outer_of_skin = np.searchsorted(np.flatnonzero(skin), outer)
        faces = head.faces[skin[head.faces].all(axis=1)]
        laplacian = csc_matrix(cotangent_laplacian(points[: head.num_vertices], faces))
        of_inner = csc_matrix(laplacian[self._inner])
        self._towards_outer = csc_matrix(of_inner[:, self.outer])
        self._solve = splu(csc_matrix(of_inner[:, self._inner])).solve
        loose = points[head.num_vertices :]
        distances, self._carriers = cKDTree(points[self.outer]).query(loose, NEIGHBOURS)
        weights = 1 / (distances**2 + 0.003**2)
        self._carrier_weights = weights / weights.sum(axis=1, keepdims=True)

    def extend(self, displacement: Array) -> Array:
        """Displacements [P, 3, C] of all points for those of the outer skin [O, 3, C]."""
        points, head = self._points, self._head
        out = np.zeros((len(points), *displacement.shape[1:]))
        out[self.outer] = displacement
        motions = [fit(displacement) for _, fit in self._blocks]
        for (ids, _), motion in zip(self._blocks, motions, strict=True):
            out[ids] = _move(points[ids], motion)
        # Linings take their carrier's motion, and what their border does beside it, spread smoothly inwards.
        flesh = (self._flesh @ displacement.reshape(len(displacement), -1)).reshape(-1, *displacement.shape[1:])
        inner = flesh[self._inner_of_skin] + self._spread(displacement - flesh[self._outer_of_skin])
        for block, motion in enumerate(motions[:2]):
            mine = self._inner_block == block
            beside = self._spread(displacement - _move(points[self.outer], motion))
            inner[mine] = _move(points[self._inner[mine]], motion) + beside[mine]
        out[self._inner] = inner
        out[head.num_vertices :] = np.einsum(
            "mk,mkxc->mxc", self._carrier_weights, displacement[self._carriers], optimize=True
        )
        return out

    def _spread(self, displacement: Array) -> Array:
        """Harmonic continuation [I, 3, C] of the outer skin's displacement into the linings."""
        flat = self._solve(-(self._towards_outer @ displacement.reshape(len(displacement), -1)))
        return flat.reshape(len(self._inner), *displacement.shape[1:])

    def _eye_fit(self, ball: Mask) -> Motion:
        """Translation and growth of an eyeball that keep its lids as far from its centre as they are."""
        centre = self._points[ball].mean(axis=0)
        radius = np.linalg.norm(self._points[ball] - centre, axis=1).mean()
        offsets = self._points[self.outer] - centre
        distances = np.linalg.norm(offsets, axis=1)
        lids = np.flatnonzero(distances < LID_REACH * radius)
        normals = offsets[lids] / distances[lids, None]
        metric = SLIDE_WEIGHT * np.eye(3) + normals[:, :, None] * normals[:, None, :]
        columns = np.concatenate([np.tile(np.eye(3), (len(lids), 1, 1)), offsets[lids, :, None]], axis=2)
        return _fit(lids, metric, columns, np.array([0, 0, 0, 0.3 * len(lids) * radius**2]), centre)

    def _mouth_fit(self, lips: Mask) -> Motion:
        """Translation, turn and growth of what lies behind the lips."""
        centre = self._points[lips].mean(axis=0)
        offsets = self._points[self.outer] - centre
        weights = np.exp(-0.5 * (offsets**2).sum(axis=1) / MOUTH_REACH**2)
        near = np.flatnonzero(weights > 1e-3)
        metric = weights[near, None, None] * np.eye(3)
        turns = np.stack([np.cross(axis, offsets[near]) for axis in np.eye(3)], axis=2)
        columns = np.concatenate(
            [np.tile(np.eye(3), (len(near), 1, 1)), offsets[near, :, None], turns], axis=2
        )
        return _fit(near, metric, columns, np.full(7, 1e-9), centre)


def _averages(points: Array, carriers: Array, reach: float) -> csr_matrix:
    """Gaussian averages [n, O] of the carriers [O, 3] around points [n, 3]."""
    found = cKDTree(points).sparse_distance_matrix(cKDTree(carriers), 4 * reach, output_type="coo_matrix").tocsr()
    found.data = np.exp(-0.5 * (found.data / reach) ** 2)
    return (diags(1 / np.maximum(np.asarray(found.sum(axis=1)).ravel(), 1e-12)) @ found).tocsr()


def _fit(ids: NDArray[np.int64], metric: Array, columns: Array, ridge: Array, centre: Array) -> Motion:
    """Weighted least squares of displacements by `columns` [n, 3, p] (translation, growth and perhaps turns)."""
    weighted = np.einsum("nxy,nyp->nxp", metric, columns)
    normal = np.einsum("nxp,nxq->pq", columns, weighted) + np.diag(ridge)
    solve = np.linalg.solve(normal, weighted.reshape(-1, columns.shape[2]).T)

    def motion(displacement: Array) -> tuple[Array, Array]:
        return centre, solve @ displacement[ids].reshape(3 * len(ids), -1)

    return motion


def _move(points: Array, motion: tuple[Array, Array]) -> Array:
    """Displacements [n, 3, C] of points under motions (centre [3], parameters [4 or 7, C])."""
    centre, parameters = motion
    offsets = points - centre
    out = parameters[None, :3] + offsets[:, :, None] * parameters[3]
    if len(parameters) > 4:
        turns = np.stack([np.cross(axis, offsets) for axis in np.eye(3)], axis=2)
        out = out + np.einsum("nxr,rc->nxc", turns, parameters[4:])
    return out
