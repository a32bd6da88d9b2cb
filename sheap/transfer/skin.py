"""The outer skin of a head as plain arrays: what two models have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head import HeadModel
from sheap.head.regions import outer_skin

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Skin:
    """ids [P]: the head's vertices that are outer skin; face_ids [F']: its triangles there; faces [F', 3]: the same with corners
    among the P; points [P, 3] m of the mean head."""

    ids: IntArray
    face_ids: IntArray
    faces: IntArray
    points: Array

    @classmethod
    def of(cls, head: HeadModel) -> Skin:
        """Raises ValueError for a head without such a part."""
        on_skin = outer_skin(head).numpy()[head.faces.numpy()].all(axis=1)
        face_ids = np.flatnonzero(on_skin)
        if len(face_ids) == 0:
            raise ValueError("head model: has no outer skin")
        ids, faces = np.unique(head.faces.numpy()[face_ids], return_inverse=True)
        return cls(ids, face_ids, faces.reshape(-1, 3), head.template.double().numpy()[ids])

    def normals(self, points: Array) -> Array:
        """Unit normals [P, 3] of the skin with its points moved to [P, 3]."""
        corners = points[self.faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros_like(points)
        for corner in range(3):
            np.add.at(normals, self.faces[:, corner], cross)
        return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-15)

    def border(self) -> NDArray[np.bool_]:
        """Mask [P] of the points at its edges: along lids, lips, nostrils, and the neck's end."""
        edges = np.sort(np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]]), axis=1)
        unique, counts = np.unique(edges, axis=0, return_counts=True)
        mask = np.zeros(len(self.points), bool)
        mask[unique[counts == 1].reshape(-1)] = True
        return mask
