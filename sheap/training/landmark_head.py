"""The head model cut down to its landmarks: a landmark loss needs a fifth of the vertices."""

from __future__ import annotations

import torch
from torch import Tensor

from sheap.head import HeadModel
from sheap.head.data import HeadData, SurfacePoints


def landmark_head(head: HeadModel) -> HeadModel:
    """A head model of the faces that carry landmarks alone; its `landmarks` equal the whole model's exactly.

    Joints depend on vertices that are cut away, so they come by basis. Raises ValueError when the head model has no landmark
    embedding.
    """
    if head.landmark_faces is None:
        raise ValueError(
            "head model: has no MediaPipe landmark embedding, which training needs; 'sheap head convert' finds the landmarks"
        )
    kept, faces = torch.unique(head.faces[head.landmark_faces], return_inverse=True)

    def cut(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[kept]

    points = SurfacePoints(
        torch.arange(len(faces), device=faces.device), head.landmark_barycentrics, head.landmark_weights
    )
    return HeadModel(
        HeadData(
            template=head.template[kept],
            faces=faces,
            uv_coords=head.uv_coords,
            uv_faces=None if head.uv_faces is None else head.uv_faces[head.landmark_faces],
            shape_basis=head.shape_basis[kept],
            expression_basis=head.expression_basis[kept],
            eyelid_basis=cut(head.eyelid_basis),
            eyelid_bulge_basis=cut(head.eyelid_bulge_basis),
            joint_names=head.joint_names,
            joint_regressor=None,
            joint_basis=head.joint_basis,
            skinning_weights=head.skinning_weights[kept],
            now_points=points,
            landmark_points=points,
            pose_basis=cut(head.pose_basis),
        )
    )
