"""Poses one identity over and over: what the head model computes, with all that a pose does not change done once.

`HeadModel.forward` multiplies by the whole identity basis in every call. A rendered person keeps their identity, and
may have an own surface beside the basis (a residual), so only expression, lids and joints are left for a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
import torch
from numpy.typing import NDArray

from sheap.head.model import JOINT_PARENTS, HeadModel
from sheap.head.params import HeadParams

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Rig:
    """The head's vertices and its loose points (P = N + M together) as arrays for one kernel.

    expression [P, 3, E], lids and bulge [P, 3, 2], weights [P, 5]; joint_expression [5, 3, E]: what the expression
    moves joints by; parents: of the joints.
    """

    head: HeadModel
    expression: Array
    lids: Array
    bulge: Array
    weights: Array
    joint_expression: Array
    parents: tuple[int, ...]

    @classmethod
    def of(cls, head: HeadModel) -> Rig:
        """Raises ValueError for a head model with pose correctives (FLAME's), which rendered people do not have, or
        without what they have."""
        if head.pose_basis is not None:
            raise ValueError("head: has pose correctives; rendered people need the open head")
        if head.joint_regressor is None or head.num_eyelids == 0:
            raise ValueError("head: has no joint regressor, or no eyelids; rendered people need the open head")

        def both(name: str) -> Array:
            parts = (getattr(head, name).numpy(), getattr(head, f"attachment_{name}").numpy())
            return np.ascontiguousarray(np.concatenate(parts), np.float32)

        joint_expression = np.einsum("jn,nce->jce", head.joint_regressor.numpy(), head.expression_basis.numpy())
        return cls(
            head, both("expression_basis"), both("eyelid_basis"), both("eyelid_bulge_basis"), both("skinning_weights"),
            joint_expression.astype(np.float32), JOINT_PARENTS,
        )  # fmt: skip


class PosedIdentity:
    """One identity: shape [S] in the head's basis, and residual [N, 3] (m, at rest) that the basis does not reach.

    rest [N, 3]: the neutral face at rest; attachments [M, 3]: the loose points there.
    """

    def __init__(self, rig: Rig, shape: torch.Tensor, residual: Array | None = None) -> None:
        head = rig.head
        self._rig = rig
        self.rest = head.neutral(shape).numpy()
        if residual is not None:
            if residual.shape != self.rest.shape:
                raise ValueError(f"residual: expected {self.rest.shape}, got {residual.shape}")
            self.rest = self.rest + residual.astype(np.float32)
        with torch.inference_mode():
            self.attachments = head.attachments(HeadParams.zeros(head).replace(shape=shape)).numpy()
        self._points = np.concatenate([self.rest, self.attachments]).astype(np.float32)
        assert head.joint_regressor is not None, "Rig.of has seen it"
        self._joints = head.joint_regressor.numpy() @ self.rest

    def pose(self, params: HeadParams) -> tuple[Array, Array]:
        """Vertices [N, 3] and loose points [M, 3] in the world for parameters without leading dims; their shape does
        not count."""
        rig = self._rig
        assert params.eyelids is not None, "Rig.of has seen to a head with lids"
        expression = params.expression.numpy().astype(np.float32)
        lids = params.eyelids.numpy().astype(np.float32)
        joints = self._joints + rig.joint_expression @ expression
        transforms = _joint_transforms(params.rotvecs().numpy(), joints, rig.parents)
        transforms[:, :, 3] += params.translation.numpy()
        within = np.clip(lids, 0, 1)
        moved = (rig.expression.reshape(-1, len(expression)) @ expression).reshape(-1, 3)
        points = _skin(
            self._points, moved, rig.lids, rig.bulge, lids, (4 * within * (1 - within)).astype(np.float32), rig.weights,
            transforms.astype(np.float32),
        )  # fmt: skip
        return points[: len(self.rest)], points[len(self.rest) :]


def _joint_transforms(rotvecs: NDArray, joints: Array, parents: tuple[int, ...]) -> NDArray[np.float64]:
    """[5, 3, 4]: what takes points at rest to the pose, joint by joint."""
    out = np.empty((len(parents), 3, 4))
    rotations: list[NDArray] = []
    places: list[NDArray] = []
    for joint, parent in enumerate(parents):
        own = cv2.Rodrigues(rotvecs[joint].astype(np.float64))[0]
        at = joints[joint].astype(np.float64)
        if parent < 0:
            rotations.append(own)
            places.append(at)
        else:
            rotations.append(rotations[parent] @ own)
            places.append(places[parent] + rotations[parent] @ (at - joints[parent]))
        out[joint, :, :3] = rotations[joint]
        out[joint, :, 3] = places[joint] - rotations[joint] @ at
    return out


@numba.njit(cache=True, fastmath=True, nogil=True)
def _skin(points, moved, lids, bulge, lid_weights, bulge_weights, weights, transforms):
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] + moved[i, 0], points[i, 1] + moved[i, 1], points[i, 2] + moved[i, 2]
        for k in range(2):
            x += lids[i, 0, k] * lid_weights[k] + bulge[i, 0, k] * bulge_weights[k]
            y += lids[i, 1, k] * lid_weights[k] + bulge[i, 1, k] * bulge_weights[k]
            z += lids[i, 2, k] * lid_weights[k] + bulge[i, 2, k] * bulge_weights[k]
        for c in range(3):
            total = np.float32(0.0)
            for j in range(transforms.shape[0]):
                w = weights[i, j]
                if w != 0.0:
                    total += w * (
                        transforms[j, c, 0] * x + transforms[j, c, 1] * y + transforms[j, c, 2] * z + transforms[j, c, 3]
                    )
            out[i, c] = total
    return out
