"""Splitting the facial actions the way FLAME does: joints turn, eyelids close, and what is left becomes expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sheap.head.recipe.axes import rigid_fit
from sheap.head.recipe.topology import HeadTopology

Array = NDArray[np.float64]

BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
DROPPED = ("mouthClose",)
"""`mouthClose` pulls the lips together only while the jaw is open; alone it pushes them through each other."""


@dataclass(frozen=True)
class SplitActions:
    """names [A]; offsets [A, N, 3] left for the expression basis; rotvecs [A, 5, 3]: each action's turn of each joint;
    eyelids [N, 3, 2]: closing the left and the right eye."""

    names: tuple[str, ...]
    offsets: Array
    rotvecs: Array
    eyelids: Array


def split_actions(
    actions: dict[str, Array], vertices: Array, joints: Array, weights: Array, jaw_rotvec: Array, head: HeadTopology
) -> SplitActions:
    """Takes joint turns out of the actions (name -> offsets [N, 3] on the mean head `vertices` [N, 3]).

    joints [5, 3] of the mean head and weights [N, 5] are those of the finished model, so turning a joint and adding the
    remaining offset gives the action again.
    """
    names = tuple(name for name in actions if name not in (*BLINKS, *DROPPED))
    offsets = np.stack([actions[name] for name in names]).copy()
    rotvecs = np.zeros((len(names), 5, 3))
    for row, name in enumerate(names):
        if name.startswith("eyeLook"):
            joint = 3 if name.endswith("Left") else 4
            ball = head.part_mask("eyeball_left" if joint == 3 else "eyeball_right")
            rotation, _ = rigid_fit(vertices[ball] - joints[joint], vertices[ball] + offsets[row, ball] - joints[joint])
            rotvecs[row, joint] = Rotation.from_matrix(rotation).as_rotvec()
        if name == "jawOpen":
            rotvecs[row, 2] = jaw_rotvec
            turned = (vertices - joints[2]) @ (Rotation.from_rotvec(jaw_rotvec).as_matrix() - np.eye(3)).T
            offsets[row] -= weights[:, 2:3] * turned
    for part in ("eyeball_left", "eyeball_right"):
        offsets[:, head.part_mask(part)] = 0.0
    eyelids = np.stack([actions[name] for name in BLINKS], axis=-1)
    eyelids[head.part_mask("eyeball_left") | head.part_mask("eyeball_right")] = 0.0
    return SplitActions(names, offsets, rotvecs, eyelids)


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


def expression_basis(offsets: Array, action_weights: Array, relative_cut: float) -> tuple[Array, Array]:
    """Basis [N, 3, E] whose coefficients have unit second moment over the samples, zero being the neutral face, and the
    matrix [A, E] that turns action weights into coefficients.

    The principal components are taken about zero, not about the mean, so that the neutral face keeps the coordinate zero.
    Directions weaker than `relative_cut` of the strongest are rank-deficiency noise and are left out.
    """
    num_actions, num_vertices, _ = offsets.shape
    moment = action_weights.T @ action_weights / len(action_weights)
    lower = np.linalg.cholesky(moment)
    u, scale, vt = np.linalg.svd(lower.T @ offsets.reshape(num_actions, -1), full_matrices=False)
    keep = scale > relative_cut * scale[0]
    basis = (vt[keep].T * scale[keep]).reshape(num_vertices, 3, -1)
    # weights = white @ lower.T and coefficients = white @ u.
    matrix = np.linalg.solve(lower.T, u[:, keep])
    return basis, matrix
