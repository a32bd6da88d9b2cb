"""Splitting the facial actions the way FLAME does: joints turn, eyelids close, and what is left becomes expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sheap.head.recipe.axes import rigid_fit
from sheap.head.recipe.identities import mirrored
from sheap.head.recipe.topology import HeadTopology

Array = NDArray[np.float64]

BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
DROPPED = ("mouthClose", "tongueOut")
"""Actions that only make sense with an open jaw: alone they push lips or tongue through the closed lips."""


@dataclass(frozen=True)
class SplitActions:
    """names [A]; offsets [A, P, 3] left for the expression basis; rotvecs [A, 5, 3]: each action's turn of each
    joint."""

    names: tuple[str, ...]
    offsets: Array
    rotvecs: Array


def partner_name(name: str) -> str:
    """The action on the other side of the face; unsided actions are their own partners."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


def symmetrise_actions(actions: dict[str, Array], mirror: NDArray[np.int64]) -> dict[str, Array]:
    """Each action averaged with its partner's mirror image; the artists' left and right differ by up to a
    millimetre."""
    return {name: (offsets + mirrored(actions[partner_name(name)], mirror)) / 2 for name, offsets in actions.items()}


def split_actions(
    actions: dict[str, Array], points: Array, joints: Array, weights: Array, jaw_rotvec: Array, head: HeadTopology
) -> SplitActions:
    """Takes joint turns out of the actions (name -> offsets [P, 3] on the mean head `points` [P, 3]), leaving the
    blinks out.

    joints [5, 3] of the mean head and weights [P, 5] are those of the finished model, so turning a joint and adding the
    remaining offset gives the action again.
    """
    names = tuple(name for name in actions if name not in (*BLINKS, *DROPPED))
    offsets = np.stack([actions[name] for name in names]).copy()
    rotvecs = np.zeros((len(names), 5, 3))
    for row, name in enumerate(names):
        if name.startswith("eyeLook"):
            joint = 3 if name.endswith("Left") else 4
            ball = head.part_mask("eyeball_left" if joint == 3 else "eyeball_right")
            rotation, _ = rigid_fit(points[ball] - joints[joint], points[ball] + offsets[row, ball] - joints[joint])
            rotvecs[row, joint] = Rotation.from_matrix(rotation).as_rotvec()
        if name == "jawOpen":
            rotvecs[row, 2] = jaw_rotvec
            turned = (points - joints[2]) @ (Rotation.from_rotvec(jaw_rotvec).as_matrix() - np.eye(3)).T
            offsets[row] -= weights[:, 2:3] * turned
    for part in ("eyeball_left", "eyeball_right"):
        offsets[:, head.part_mask(part)] = 0.0
    return SplitActions(names, offsets, rotvecs)


def sample_action_weights(names: tuple[str, ...], count: int, seed: int) -> Array:
    """Plausible weights [count, A] in [0, 1]: a few actions at a time, left and right mostly together."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((count, len(names)))
    roots = [name.removesuffix("Left").removesuffix("Right") for name in names]
    for root in dict.fromkeys(roots):
        columns = [k for k, other in enumerate(roots) if other == root]
        active = rng.random(count) < 0.3
        strength = rng.beta(1.2, 2.0, count)
        for column in columns:
            own = rng.beta(1.2, 2.0, count)
            share = 0.25 if len(columns) > 1 else 0.0
            weights[:, column] = active * ((1 - share) * strength + share * own)
    return weights


def expression_basis(
    offsets: Array, action_weights: Array, names: tuple[str, ...], num_vertices: int, relative_cut: float
) -> tuple[Array, Array]:
    """Basis [P, 3, E] whose coefficients have unit second moment over the samples, zero being the neutral face, and the
    matrix [A, E] that turns action weights into coefficients.

    The principal components are taken about zero, not about the mean, so that the neutral face keeps the coordinate
    zero. Directions weaker than `relative_cut` of the strongest are rank-deficiency noise and are left out. The first
    `num_vertices` points decide. Left and right count as equally frequent, so components mirror to plus or minus
    themselves.
    """
    num_actions, num_points, _ = offsets.shape
    moment = action_weights.T @ action_weights / len(action_weights)
    swap = [names.index(partner_name(name)) for name in names]
    moment = (moment + moment[np.ix_(swap, swap)]) / 2
    lower = np.linalg.cholesky(moment)
    white = lower.T @ offsets.reshape(num_actions, -1)
    u, scale, _ = np.linalg.svd(white[:, : 3 * num_vertices], full_matrices=False)
    keep = scale > relative_cut * scale[0]
    basis = (white.T @ u[:, keep]).reshape(num_points, 3, -1)
    # action weights = w @ lower.T for white samples w, and coefficients = w @ u.
    matrix = np.asarray(np.linalg.solve(lower.T, u[:, keep]), np.float64)
    return basis, matrix
