"""Linear blend skinning with a chain of joints (as in SMPL, Loper et al. 2015, and FLAME, Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def joint_transforms(rotations: Tensor, joints: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Each joint's world rotation [..., J, 3, 3] and posed position [..., J, 3].

    rotations [..., J, 3, 3] are relative to the parent, joints [..., J, 3] lie in the rest pose, and parents come
    before their children (-1: none). A joint without a parent stays where it is.
    """
    world_rotations: list[Tensor] = []
    positions: list[Tensor] = []
    for joint, parent in enumerate(parents):
        if parent < 0:
            world_rotations.append(rotations[..., joint, :, :])
            positions.append(joints[..., joint, :])
            continue
        bone = joints[..., joint, :] - joints[..., parent, :]
        positions.append(positions[parent] + (world_rotations[parent] @ bone[..., None]).squeeze(-1))
        world_rotations.append(world_rotations[parent] @ rotations[..., joint, :, :])
    return torch.stack(world_rotations, dim=-3), torch.stack(positions, dim=-2)


def linear_blend_skinning(
    vertices: Tensor, joints: Tensor, rotations: Tensor, weights: Tensor, parents: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Posed vertices [..., N, 3] and joints [..., J, 3].

    vertices [..., N, 3] and joints [..., J, 3] at rest; rotations [..., J, 3, 3] relative to the parents; weights [N,
    J].
    """
    world_rotations, posed_joints = joint_transforms(rotations, joints, parents)
    # v' = sum_j w_j (R_j (v - j_rest) + j_posed) = (sum_j w_j R_j) v + sum_j w_j (j_posed - R_j j_rest)
    offsets = posed_joints - (world_rotations @ joints[..., None]).squeeze(-1)
    transforms = torch.cat([world_rotations, offsets[..., None]], dim=-1)
    blended = (weights @ transforms.flatten(-2)).unflatten(-1, (3, 4))
    posed = (blended[..., :3] @ vertices[..., None]).squeeze(-1) + blended[..., 3]
    return posed, posed_joints
