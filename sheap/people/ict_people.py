"""People whose shapes are ICT Face Model Light's own, on the open head's mesh: partly outside our basis.

For measuring what the basis costs. The user names ICT's files; nothing of them is shipped. The skin follows ICT's at the
nearest points of the two mean heads; where those say nothing (edges of lids and lips, nostrils, what lies inside) it goes
with the best fit in our own basis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.similarity import procrustes
from sheap.geometry.triangles import barycentrics
from sheap.head.ict import IctSkin
from sheap.head.model import HeadModel

Array = NDArray[np.float64]

SURE_MM = 1.0
"""Points whose nearest point on the other mean head is further away have no counterpart."""
REACH = 0.006
"""Metres (standard deviation) over which what the basis misses fades into skin without a counterpart."""
RIDGE = 3e-6
"""Weight of a squared coefficient beside squared metres summed over the sure points."""


@dataclass(frozen=True)
class IctPerson:
    """vertices [N, 3] on the open head's mesh (metres, at rest, neutral); shape [S]: the best fit in its basis."""

    vertices: NDArray[np.float32]
    shape: NDArray[np.float32]


class IctPeople:
    """ICT's people on a head model that has the open head's mesh and mean."""

    def __init__(self, head: HeadModel, ict: IctSkin) -> None:
        self._template = head.template.double().numpy()
        self._basis = head.shape_basis.double().numpy()
        masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
        outer = np.flatnonzero(masks["skin"] & ~masks["eye_sockets"] & ~masks["mouth_interior"] & ~masks["ears"])
        tree, skin = TriangleTree(1e3 * ict.mean, ict.faces), self._template[outer]
        now = head.now_landmarks(head.template).double().numpy()
        pose = procrustes(ict.mean[ict.now_vertices], now)
        rotation, translation = pose.rotation, ict.mean[ict.now_vertices].mean(0) - pose.rotation @ now.mean(0)
        for _ in range(10):
            placed = skin @ rotation.T + translation
            found = tree.query(1e3 * placed)
            near = found.distances < 3 * SURE_MM
            fit = procrustes(found.points[near] / 1e3, skin[near])
            rotation = fit.rotation
            translation = (found.points[near] / 1e3).mean(0) - rotation @ skin[near].mean(0)
        found = tree.query(1e3 * (skin @ rotation.T + translation))
        sure = found.distances < SURE_MM
        self._sure = outer[sure]
        corners = ict.mean[ict.faces[found.faces[sure]]]
        weights = barycentrics(corners, found.points[sure] / 1e3)
        self._modes = np.einsum("pk,mpkc->mpc", weights, ict.modes[:, ict.faces[found.faces[sure]]]) @ rotation
        self._base = (found.points[sure] / 1e3 - translation) @ rotation
        self._others = np.setdiff1d(outer, self._sure)
        self._fit_rows = self._ridge()
        distances, self._near = cKDTree(self._template[self._sure]).query(self._template[self._others], 8)
        self._fade = np.exp(-0.5 * (distances / REACH) ** 2)
        self._fade /= np.maximum(self._fade.sum(axis=1, keepdims=True), 1.0)

    @property
    def share_followed(self) -> float:
        """Share of the outer skin's vertices, ears aside, that follow ICT's skin itself."""
        return len(self._sure) / (len(self._sure) + len(self._others))

    def person(self, coefficients: Array) -> IctPerson:
        """The person with ICT's standard normal coefficients [100]."""
        wanted = self._base + np.tensordot(coefficients, self._modes, axes=1)
        solution = self._fit_rows @ (wanted - self._template[self._sure]).reshape(-1)
        shape, motion = solution[:-6], solution[-6:]
        wanted = wanted - _small_motions(self._template[self._sure]) @ motion
        vertices = self._template + self._basis @ shape
        beyond = wanted - vertices[self._sure]
        vertices[self._sure] = wanted
        vertices[self._others] += np.einsum("pk,pkc->pc", self._fade, beyond[self._near])
        return IctPerson(vertices.astype(np.float32), shape.astype(np.float32))

    def draw(self, rng: np.random.Generator) -> IctPerson:
        """A random person."""
        return self.person(rng.standard_normal(len(self._modes)))

    def _ridge(self) -> NDArray[np.floating]:
        """Rows [S + 6, 3 n] of the least squares onto our basis and a small rigid motion."""
        count = self._basis.shape[2]
        columns = np.concatenate([self._basis[self._sure], _small_motions(self._template[self._sure])], axis=2)
        columns = columns.reshape(-1, count + 6)
        penalty = np.diag(np.r_[np.full(count, RIDGE), np.zeros(6)])
        return np.linalg.solve(columns.T @ columns + penalty, columns.T)


def _small_motions(points: Array) -> Array:
    """Columns [P, 3, 6]: three translations and three turns about the origin."""
    turns = np.stack([np.cross(axis, points) for axis in np.eye(3)], axis=2)
    return np.concatenate([np.tile(np.eye(3), (len(points), 1, 1)), turns], axis=2)
