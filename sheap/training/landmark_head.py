"""The head model cut down to its landmarks: a landmark loss needs a fifth of the vertices."""

from __future__ import annotations

import torch
from torch import Tensor

from sheap.head import HeadModel
from sheap.head.data import HeadData, SurfacePoints


def landmark_head(head: HeadModel) -> HeadModel:
    """A head model of the faces that carry landmarks alone; its `landmarks` equal the whole model's exactly.

    Joints depend on vertices that are cut away, so each becomes a vertex of its own, which the new regressor picks.
    Raises ValueError when the head model has no landmark embedding.
    """
    if head.landmark_faces is None:
        raise ValueError("head model: has no MediaPipe landmark embedding, which training needs")
    corner_ids = head.faces[head.landmark_faces]
    kept, faces = torch.unique(corner_ids, return_inverse=True)
    num_joints = len(head.joint_names)

    def cut(values: Tensor, joints: Tensor) -> Tensor:
        return torch.cat([values[kept], joints.to(values)])

    def at_joints(basis: Tensor) -> Tensor:
        return torch.tensordot(head.joint_regressor.double(), basis.double(), dims=1)

    regressor = torch.cat([torch.zeros(num_joints, len(kept)), torch.eye(num_joints)], 1).to(head.joint_regressor)
    no_motion = torch.zeros(num_joints, 3, 2)
    pose_basis = None
    if head.pose_basis is not None:
        pose_basis = cut(head.pose_basis, torch.zeros(num_joints, *head.pose_basis.shape[1:]))
    bulge = None if head.eyelid_bulge_basis is None else cut(head.eyelid_bulge_basis, no_motion)
    points = SurfacePoints(
        torch.arange(len(faces), device=faces.device), head.landmark_barycentrics, head.landmark_weights
    )
    return HeadModel(
        HeadData(
            template=cut(head.template, at_joints(head.template)),
            faces=faces,
            uv_coords=head.uv_coords,
            uv_faces=head.uv_faces[head.landmark_faces],
            shape_basis=cut(head.shape_basis, at_joints(head.shape_basis)),
            expression_basis=cut(head.expression_basis, at_joints(head.expression_basis)),
            eyelid_basis=cut(head.eyelid_basis, no_motion),
            eyelid_bulge_basis=bulge,
            joint_regressor=regressor,
            skinning_weights=cut(head.skinning_weights, torch.eye(num_joints)),
            now_points=points,
            landmark_points=points,
            pose_basis=pose_basis,
        )
    )
