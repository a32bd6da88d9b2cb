"""Laying our head onto another model's mean head, and carrying that model's people over: statistics in our own fields.

Corresponding points are the nearest ones of the other skin, after ours has been bent onto it step by step (non-rigid
ICP; Amberg et al. 2007). There each mode of the other model says how our skin moves, which least squares turn into
coefficients of our smooth fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.closest_point import TriangleTree
from sheap.geometry.triangles import barycentrics
from sheap.head.ict import IctSkin
from sheap.head.recipe.axes import rigid_fit, without_small_motions
from sheap.head.recipe.fields import SmoothFields

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

MEDIAPIPE_OF_68 = {
    17: 70, 18: 63, 19: 105, 20: 66, 21: 107, 22: 336, 23: 296, 24: 334, 25: 293, 26: 300, 27: 168, 28: 197, 29: 5,
    30: 4, 33: 2, 36: 33, 39: 133, 42: 362, 45: 263, 48: 61, 49: 39, 50: 37, 51: 0, 52: 267, 53: 269, 54: 291,
    55: 405, 56: 314, 57: 17, 58: 84, 59: 181, 60: 78, 61: 82, 62: 13, 63: 312, 64: 308, 65: 317, 66: 14, 67: 87,
}  # fmt: skip
"""The Multi-PIE markup's inner landmarks and MediaPipe's of the same places; lids are found by their surface alone."""


@dataclass(frozen=True)
class RegistrationSettings:
    """Weights of the least squares: landmarks against surface points, and how stiff the skin is (start, end)."""

    steps: int = 30
    stiffness: tuple[float, float] = (1000.0, 50.0)
    landmark_weight: tuple[float, float] = (30.0, 1.0)
    slide_weight: float = 0.02
    reach_mm: float = 15.0
    min_cosine: float = 0.2
    mode_stiffness: float = 0.3


@dataclass(frozen=True)
class Measured:
    """mean [K, 3] and factor [K, 3, 100] of the people's displacements in the fields' coefficients (metres): a person
    is mean + factor @ z with z standard normal. figures: what is left over (JSON-able)."""

    mean: Array
    factor: Array
    figures: dict[str, float]


def measure_people(
    points: Array,
    faces: IntArray,
    fields: SmoothFields,
    weights: Array,
    landmarks: Array,
    ict: IctSkin,
    settings: RegistrationSettings,
) -> Measured:
    """Statistics of ICT's people on our head.

    points [P, 3] of our head and its faces; weights [O] of the outer skin's points (how much each counts);
    landmarks [68, O] sparse-like rows: the Multi-PIE landmarks as averages of outer points, zero rows where unknown.
    """
    start = points[fields.outer]
    local = np.full(len(points), -1)
    local[fields.outer] = np.arange(len(start))
    skin_faces = local[faces[(local[faces] >= 0).all(axis=1)]]
    known = landmarks.sum(axis=1) > 0
    rows = landmarks[known] @ fields.functions
    wanted = ict.mean[ict.landmarks][known]
    rotation, translation = rigid_fit(wanted, landmarks[known] @ start)
    target = ict.mean @ rotation.T + translation
    wanted = target[ict.landmarks][known]
    tree = TriangleTree(1e3 * target, ict.faces)
    count = fields.functions.shape[1]
    mean = np.zeros((count, 3))
    levels = np.linspace(0, 1, settings.steps)
    for level in levels:
        stiffness = settings.stiffness[0] ** (1 - level) * settings.stiffness[1] ** level
        pull = settings.landmark_weight[0] ** (1 - level) * settings.landmark_weight[1] ** level
        placed = start + fields.functions @ mean
        found = _correspond(placed, skin_faces, tree, target, ict.faces, settings)
        mean = _bend(fields, start, found, weights, rows, landmarks[known], wanted, pull, stiffness, settings)
    placed = start + fields.functions @ mean
    found = _correspond(placed, skin_faces, tree, target, ict.faces, settings)
    modes = np.einsum("pk,mpkc->mpc", found.barycentrics, ict.modes[:, ict.faces[found.faces]]) @ rotation.T
    sure = weights * found.weights
    modes = without_small_motions(modes, placed, sure)
    penalty = np.diag(settings.mode_stiffness * fields.frequencies**4)
    weighted = fields.functions * sure[:, None]
    solved = np.linalg.solve(
        fields.functions.T @ weighted + penalty, weighted.T @ modes.transpose(1, 2, 0).reshape(len(start), -1)
    )
    factor = np.asarray(solved, np.float64).reshape(count, 3, -1)
    left = modes.transpose(1, 2, 0) - fields.displace(factor)
    face = weights > 0.9 * weights.max()
    face_sure = face & (found.weights > 0.5)
    along = np.einsum("oxc,ox->oc", left, found.normals)
    figures = {
        "mean_distance_mm": float(1e3 * np.linalg.norm(found.points - placed, axis=1)[face_sure].mean()),
        "face_matched": float(found.weights[face].mean()),
        "mode_residual_mm": float(1e3 * np.sqrt((left[face_sure] ** 2).sum(axis=(1, 2)).mean())),
        "mode_residual_normal_mm": float(1e3 * np.sqrt((along[face_sure] ** 2).sum(axis=1).mean())),
    }
    return Measured(mean, factor, figures)


@dataclass(frozen=True)
class _Found:
    """Each outer point's nearest point: points [O, 3], normals [O, 3] there, faces [O], barycentrics [O, 3] and
    weights [O] (0: no counterpart)."""

    points: Array
    normals: Array
    faces: IntArray
    barycentrics: Array
    weights: Array


def _correspond(
    placed: Array,
    faces: IntArray,
    tree: TriangleTree,
    target: Array,
    target_faces: IntArray,
    settings: RegistrationSettings,
) -> _Found:
    nearest = tree.query(1e3 * placed)
    corners = target[target_faces[nearest.faces]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-15
    cosine = (normals * _normals(placed, faces)).sum(axis=1)
    distance = nearest.distances
    weights = (cosine > settings.min_cosine) / (1 + (distance / settings.reach_mm) ** 2)
    points = nearest.points / 1e3
    return _Found(points, normals, nearest.faces, barycentrics(corners, points), weights)


def _bend(
    fields: SmoothFields,
    start: Array,
    found: _Found,
    weights: Array,
    landmark_rows: Array,
    landmarks: Array,
    wanted: Array,
    pull: float,
    stiffness: float,
    settings: RegistrationSettings,
) -> Array:
    """Coefficients [K, 3] that lay the skin on the found points: distances along the normal count, sliding hardly."""
    functions = fields.functions
    count = functions.shape[1]
    sure = weights * found.weights
    matrix = np.zeros((3 * count, 3 * count))
    right = np.zeros(3 * count)
    offset = found.points - start
    for a in range(3):
        for b in range(3):
            metric = sure * (found.normals[:, a] * found.normals[:, b] + settings.slide_weight * (a == b))
            matrix[a * count : (a + 1) * count, b * count : (b + 1) * count] = functions.T @ (functions * metric[:, None])
            right[a * count : (a + 1) * count] += functions.T @ (metric * offset[:, b])
        block = slice(a * count, (a + 1) * count)
        matrix[block, block] += pull * landmark_rows.T @ landmark_rows + stiffness * np.diag(fields.frequencies**4)
        matrix[block, block] += 1e-9 * np.eye(count)
        right[block] += pull * landmark_rows.T @ (wanted - landmarks @ start)[:, a]
    return np.linalg.solve(matrix, right).reshape(3, count).T


def _normals(vertices: Array, faces: IntArray) -> Array:
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], cross)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-15)
