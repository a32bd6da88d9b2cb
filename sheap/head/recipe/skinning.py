"""Skinning weights of the five joints; the jaw's are fitted to how MakeHuman's artists open the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from sheap.head.recipe.source import BaseMesh
from sheap.head.recipe.topology import HeadTopology, smooth_over_mesh, subtree_weight

Array = NDArray[np.float64]

NECK_SHARE = {"neck03": 0.9, "neck02": 0.66, "neck01": 0.33}
"""How much of each neck bone's turn the one neck joint takes over (the head's own subtree follows it wholly)."""


@dataclass(frozen=True)
class JawFit:
    """Opening the mouth as a rotation: centre [3] (x = 0), rotvec [3] at full jawOpen, weights [P] of the jaw joint."""

    centre: Array
    rotvec: Array
    weights: Array


def neck_centre(base: BaseMesh) -> Array:
    """Where one joint best stands for the neck's bones: the mean of their starts [3], weighted by how much each
    turns."""
    bones = (*reversed(NECK_SHARE), "head")
    totals = np.array([*(NECK_SHARE[bone] for bone in reversed(NECK_SHARE)), 1.0])
    turns = np.diff(totals, prepend=0.0)
    return sum((turn * base.bone_heads[bone] for turn, bone in zip(turns, bones, strict=True)), start=np.zeros(3))


def neck_weights(base: BaseMesh, head: HeadTopology) -> Array:
    """Weights [P] of the neck joint with everything that hangs on it; the rest belongs to the root."""
    weights = subtree_weight(base, "head")[head.base_ids].copy()
    for bone, share in NECK_SHARE.items():
        weights += share * base.bone_weights[bone][head.base_ids]
    for part in ("eyeball_left", "eyeball_right", "tongue", "teeth_upper", "teeth_lower"):
        weights[head.part_mask(part)] = 1.0
    return weights.clip(0, 1)


def fit_jaw(points: Array, opening: Array, head: HeadTopology, smoothing_steps: int) -> JawFit:
    """Fits centre, angle and weights so that a weighted rotation about the left-right axis reproduces `opening` [P, 3].

    For a given centre and angle each vertex's best weight has a closed form; only three numbers are searched.
    """
    lower_teeth = head.part_mask("teeth_lower")
    upper_teeth = head.part_mask("teeth_upper")
    fixed = upper_teeth | (np.arange(len(points)) >= head.num_vertices)
    moving = np.linalg.norm(opening, axis=1) > 1e-5

    def turn(parameters: Array) -> Array:
        centre = np.array([0.0, parameters[1], parameters[2]])
        rotation = Rotation.from_rotvec([parameters[0], 0.0, 0.0]).as_matrix()
        return (points - centre) @ (rotation - np.eye(3)).T

    def best_weights(arc: Array) -> Array:
        weights = ((opening * arc).sum(1) / np.maximum((arc * arc).sum(1), 1e-12)).clip(0, 1)
        weights[lower_teeth] = 1.0
        weights[fixed] = 0.0
        return weights

    def residual(parameters: Array) -> Array:
        arc = turn(parameters)
        return 1e3 * (best_weights(arc)[:, None] * arc - opening)[moving].reshape(-1)

    eyes_depth = points[head.part_mask("eyeball_left"), 2].mean()
    start = np.array([np.radians(20.0), -0.03, eyes_depth - 0.06])
    fit = least_squares(residual, start, x_scale=[0.1, 0.01, 0.01])
    arc = turn(fit.x)
    weights = smooth_over_mesh(best_weights(arc), head, smoothing_steps)
    weights[lower_teeth], weights[fixed] = 1.0, 0.0
    for part in ("eyeball_left", "eyeball_right"):
        weights[head.part_mask(part)] = 0.0
    weights = (weights + weights[head.mirror]) / 2
    return JawFit(np.array([0.0, fit.x[1], fit.x[2]]), np.array([fit.x[0], 0.0, 0.0]), weights)


def skinning_weights(neck: Array, jaw: Array, head: HeadTopology) -> Array:
    """Weights [P, 5] in the order root, neck, jaw, left eye, right eye; rows sum to one."""
    eye_left = head.part_mask("eyeball_left").astype(np.float64)
    eye_right = head.part_mask("eyeball_right").astype(np.float64)
    jaw = jaw * neck
    return np.stack([1 - neck, neck - jaw - eye_left - eye_right, jaw, eye_left, eye_right], axis=1)
