"""Rigging: Gaussians written in their parent faces' frames, moved into the world with the mesh."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from sheap.geometry.face_frames import FaceFrames
from sheap.geometry.rotations import matrix_to_quat_wxyz, quat_multiply_wxyz, quat_wxyz_to_matrix


@dataclass(frozen=True)
class RiggedGaussians:
    """World means [..., G, 3] and scales [..., G, 2] in metres, quats_wxyz [..., G, 4], unit normals [..., G, 3]."""

    means: Tensor
    quats_wxyz: Tensor
    scales: Tensor
    normals: Tensor


def rig_gaussians(
    frames: FaceFrames, barycentrics: Tensor, offsets: Tensor, scales: Tensor, quats_wxyz: Tensor
) -> RiggedGaussians:
    """Gaussians of G parent faces (one frame each) in the world.

    frames: of the parents, face axis G. barycentrics: [G, 3], where on its face each Gaussian is anchored; one third
    each is the published binding, to the face's centre. offsets [..., G, 3], scales [..., G, 2] and quats_wxyz
    [..., G, 4] are in units and axes of the face: mean = anchor + R_p S_p x, rotation = R_p R(q),
    scale = s (s_u, s_v) (method.md, 6). The normal extent s_n only bounds how far a centre leaves the surface.
    """
    anchors = (frames.corners * barycentrics[..., None]).sum(-2)
    moved = (frames.rotations @ (frames.extents * offsets)[..., None]).squeeze(-1)
    unit = F.normalize(quats_wxyz, dim=-1, eps=1e-12)
    local_normals = quat_wxyz_to_matrix(unit)[..., :, 2]
    return RiggedGaussians(
        means=anchors + moved,
        quats_wxyz=quat_multiply_wxyz(matrix_to_quat_wxyz(frames.rotations), unit),
        scales=scales * frames.extents[..., :2],
        normals=(frames.rotations @ local_normals[..., None]).squeeze(-1),
    )
