"""Rotations. Matrices cross public functions; quaternions say their order; vectors are radians."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Rotation vectors [..., 3] (radians) to matrices [..., 3, 3], smooth and differentiable at zero."""
    squared = (rotvec * rotvec).sum(-1)
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    # Rodrigues: R = I + a K + b K^2, with Taylor series where the closed forms divide by zero.
    a = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + a[..., None, None] * skew + b[..., None, None] * (skew @ skew)


def quat_wxyz_to_matrix(quat_wxyz: Tensor) -> Tensor:
    """Quaternions [..., 4] (w, x, y, z; any length, a zero one is the identity) to matrices [..., 3, 3]."""
    norm = quat_wxyz.norm(dim=-1, keepdim=True)
    identity = torch.zeros_like(quat_wxyz)
    identity[..., 0] = 1
    unit = torch.where(norm > 1e-12, quat_wxyz / norm.clamp_min(1e-12), identity)
    w, x, y, z = unit.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quat_wxyz(matrix: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] to unit quaternions [..., 4] (w, x, y, z), with w >= 0 up to rounding.

    The largest of the four components is taken from the diagonal, so no division is by a small number.
    """
    m00, m11, m22 = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    m01, m02, m10 = matrix[..., 0, 1], matrix[..., 0, 2], matrix[..., 1, 0]
    m12, m20, m21 = matrix[..., 1, 2], matrix[..., 2, 0], matrix[..., 2, 1]
    # Row k is 4 q_k (w, x, y, z): every row is the same quaternion, scaled by its own k-th component.
    rows = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, 1 + m00 - m11 - m22, m01 + m10, m02 + m20], -1),
            torch.stack([m02 - m20, m01 + m10, 1 - m00 + m11 - m22, m12 + m21], -1),
            torch.stack([m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22], -1),
        ],
        -2,
    )
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    quat = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quat = F.normalize(quat, dim=-1)
    return torch.where(quat[..., :1] < 0, -quat, quat)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotations R [..., 3, 3] that turn matrices M [..., 3, 3] best: trace(R^T M) is greatest; never a reflection.

    Horn's quaternions ("Closed-form solution of absolute orientation using unit quaternions", 1987): the eigenvector of the
    greatest eigenvalue of a 4 x 4 matrix, found by squaring it. Matrix products alone, so that exported networks hold it, where
    a singular value decomposition has no counterpart. A zero matrix gives some rotation.
    """
    m = matrix.double()
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (row.unbind(-1) for row in m.unbind(-2))
    rows = [
        torch.stack([m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
        torch.stack([m21 - m12, m00 - m11 - m22, m01 + m10, m02 + m20], -1),
        torch.stack([m02 - m20, m01 + m10, m11 - m00 - m22, m12 + m21], -1),
        torch.stack([m10 - m01, m02 + m20, m12 + m21, m22 - m00 - m11], -1),
    ]
    n = torch.stack(rows, -2)
    size = n.square().sum((-2, -1), keepdim=True).sqrt().clamp_min(1e-300)
    eye = torch.eye(4, dtype=n.dtype, device=n.device)
    # Between 0 and 2, its greatest eigenvalue the only one that lasts.
    power = n / size + eye
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / power.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    # One column of q q^T, the longest.
    best = power.diagonal(dim1=-2, dim2=-1).argmax(-1)
    quat = power.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    return quat_wxyz_to_matrix(quat).to(matrix.dtype)


SQUARINGS = 12
"""A gap of a hundredth between the two greatest eigenvalues leaves e^-20 of the wrong one."""


def quat_multiply_wxyz(left: Tensor, right: Tensor) -> Tensor:
    """Hamilton product of quaternions [..., 4]: the rotation `right` followed by `left`."""
    w1, x1, y1, z1 = left.unbind(-1)
    w2, x2, y2, z2 = right.unbind(-1)
    return torch.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        -1,
    )


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] -> rotation vectors [..., 3], radians, of length at most pi."""
    quat = matrix_to_quat_wxyz(matrix)
    quat = torch.where(quat[..., :1] < 0, -quat, quat)
    axis, cosine = quat[..., 1:], quat[..., :1]
    sine = axis.norm(dim=-1, keepdim=True)
    # The angle over its half's sine tends to 2 where there is no turn.
    return axis * torch.where(sine > 1e-9, 2 * torch.atan2(sine, cosine) / sine.clamp_min(1e-9), torch.full_like(sine, 2.0))
