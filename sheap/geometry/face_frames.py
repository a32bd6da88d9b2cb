"""Frames of triangles: what Gaussians are bound to (GaussianAvatars, arXiv 2312.02069, made anisotropic as in SHeaP)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class FaceFrames:
    """Frames of F triangles.

    corners: [..., F, 3, 3], metres: (corner, xyz). rotations: [..., F, 3, 3], columns (t_u, t_v, n), orthonormal,
    determinant +1. extents: [..., F, 3], metres: (s_u, s_v, s_n), with s_n = min(s_u, s_v).
    """

    corners: Tensor
    rotations: Tensor
    extents: Tensor

    def select(self, index: Tensor) -> FaceFrames:
        """The frames of the given faces, index [G] -> leading face axis G."""
        return FaceFrames(
            self.corners.index_select(-3, index),
            self.rotations.index_select(-3, index),
            self.extents.index_select(-2, index),
        )


def uv_tangent_weights(uv_coords: Tensor, uv_faces: Tensor) -> Tensor:
    """How each face's tangent t_u mixes its two edges: [F, 2] with t_u ~ w_0 (v1 - v0) + w_1 (v2 - v0).

    uv_coords: [T, 2]. uv_faces: [F, 3] int64. The mix is the direction of growing u. A face without area in the UV
    map (its u direction is undefined) takes its first edge.
    """
    corners = uv_coords.double()[uv_faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    determinant = first[:, 0] * second[:, 1] - second[:, 0] * first[:, 1]
    weights = torch.stack([second[:, 1], -first[:, 1]], -1) * determinant.sign()[:, None]
    # Relative to the edges' own size, so that the smallest of well-shaped UV faces still counts as one.
    flat = determinant.abs() <= 1e-6 * first.norm(dim=-1) * second.norm(dim=-1)
    weights = torch.where(flat[:, None], weights.new_tensor([1.0, 0.0]), weights)
    return (weights / weights.abs().amax(-1, keepdim=True)).to(uv_coords.dtype)


def face_frames(vertices: Tensor, faces: Tensor, tangent_weights: Tensor) -> FaceFrames:
    """Frames of faces [F, 3] over vertices [..., N, 3] (metres); tangent_weights [F, 2] from `uv_tangent_weights`.

    t_u lies in the face along growing u, n is the face's normal (counter-clockwise seen from outside), t_v = n x t_u.
    Extents are how far the face reaches along t_u and t_v.
    """
    corners = vertices.index_select(-2, faces.flatten()).unflatten(-2, faces.shape)
    first = corners[..., 1, :] - corners[..., 0, :]
    second = corners[..., 2, :] - corners[..., 0, :]
    normal = F.normalize(torch.linalg.cross(first, second), dim=-1, eps=1e-12)
    tangent = F.normalize(tangent_weights[:, :1] * first + tangent_weights[:, 1:] * second, dim=-1, eps=1e-12)
    bitangent = torch.linalg.cross(normal, tangent)
    # Corner 0 projects to 0, so the reach along an axis is that of (0, first, second).
    along = torch.stack(
        [
            torch.stack([(first * tangent).sum(-1), (second * tangent).sum(-1)], -1),
            torch.stack([(first * bitangent).sum(-1), (second * bitangent).sum(-1)], -1),
        ],
        -2,
    )
    in_plane = along.amax(-1).clamp_min(0) - along.amin(-1).clamp_max(0)
    extents = torch.cat([in_plane, in_plane.amin(-1, keepdim=True)], -1)
    return FaceFrames(corners, torch.stack([tangent, bitangent, normal], -1), extents)
