"""Smooth deformations of the head that no artist drew: the low eigenfunctions of the outer skin's Laplacian.

They are to a surface what the slow waves are to a line. Each, along x, y and z, bends the whole skin without tearing
it. The mesh's own density is the metric, so that they are fine where the mesh is: at eyes, nose and lips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree

from sheap.head.recipe.topology import border_vertices

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

EAR_DENSITY = 0.1
"""Ears have a fifth of the mesh's vertices but need less than a fifth of its freedom."""
LIP_GAP = 0.004
"""Metres: vertices on the mouth's border as near as this across the slit move together, or fields would part the lips."""


@dataclass(frozen=True)
class SmoothFields:
    """outer [O]: the points of the outer skin; functions [O, K], columns of unit root mean square, the first four span
    constant and linear fields; frequencies [K]: how quickly each waves (0 for the first four, at most 1)."""

    outer: IntArray
    functions: Array
    frequencies: Array

    def displace(self, coefficients: Array) -> Array:
        """Displacements [O, 3, C] of the outer skin for coefficients [K, 3, C]."""
        return np.einsum("ok,kxc->oxc", self.functions, coefficients, optimize=True)


def smooth_fields(points: Array, faces: IntArray, outer: Mask, ears: Mask, mouth_border: Mask, count: int) -> SmoothFields:
    """The first `count` fields on the outer skin of a head with points [P, 3]; masks [P].

    Eigenvectors are fixed up to sign; their sign is chosen by a fixed pattern, so that coefficients can be stored.
    """
    ids = np.flatnonzero(outer)
    local = np.full(len(points), -1)
    local[ids] = np.arange(len(ids))
    skin_faces = local[faces[outer[faces].all(axis=1)]]
    assert len(np.unique(skin_faces)) == len(ids), "a point of the outer skin has no face there"
    vertices = points[ids]
    stiffness = cotangent_laplacian(vertices, skin_faces) + _lip_stitches(vertices, skin_faces, mouth_border[ids])
    mass = np.where(ears[ids], EAR_DENSITY, 1.0)
    scale = diags(1 / np.sqrt(mass))
    waves = count - 4
    values, vectors = eigsh((scale @ stiffness @ scale).tocsc(), k=waves + 1, sigma=-1e-4, v0=np.cos(np.arange(len(ids))))
    order = np.argsort(values)[1:]
    vectors = (scale @ vectors)[:, order]
    pattern = np.sin(1.0 + np.arange(len(ids)))
    vectors *= np.sign(pattern @ vectors)
    linear = np.concatenate([np.ones((len(ids), 1)), vertices - vertices.mean(axis=0)], axis=1)
    functions = np.concatenate([linear, vectors], axis=1)
    functions /= np.sqrt((functions**2).mean(axis=0))
    frequencies = np.sqrt(np.maximum(values[order], 0))
    return SmoothFields(ids, functions, np.concatenate([np.zeros(4), frequencies / frequencies[-1]]))


def cotangent_laplacian(vertices: Array, faces: IntArray) -> csr_matrix:
    """The positive semi-definite cotangent Laplacian [N, N] (Pinkall and Polthier 1993), negative weights cut off."""
    rows, columns, weights = [], [], []
    for corner in range(3):
        i, j, k = faces[:, (corner + 1) % 3], faces[:, (corner + 2) % 3], faces[:, corner]
        a, b = vertices[i] - vertices[k], vertices[j] - vertices[k]
        cotangent = (a * b).sum(axis=1) / (np.linalg.norm(np.cross(a, b), axis=1) + 1e-12)
        rows += [i, j]
        columns += [j, i]
        weights += [cotangent / 2, cotangent / 2]
    adjacency = coo_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(len(vertices),) * 2
    ).tocsr()
    return _laplacian_of(csr_matrix(adjacency.maximum(0.0)))


def _laplacian_of(adjacency: csr_matrix) -> csr_matrix:
    return csr_matrix(diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency)


def _lip_stitches(vertices: Array, faces: IntArray, mouth_border: Mask) -> csr_matrix:
    """Edges of weight one between border vertices that face each other across the closed lips."""
    edge = np.intersect1d(border_vertices(faces), np.flatnonzero(mouth_border))
    pairs = edge[cKDTree(vertices[edge]).query_pairs(LIP_GAP, output_type="ndarray")]
    adjacency = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(vertices),) * 2)
    return _laplacian_of((adjacency + adjacency.T).tocsr())
