"""From the recipe's float64 arrays to the data of the shipped file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.head.data import HeadData, SurfacePoints
from sheap.head.recipe.build import Recipe


def to_head_data(recipe: Recipe, landmarks: SurfacePoints | None) -> HeadData:
    """Head data with or without MediaPipe's landmarks."""

    def single(name: str) -> Tensor:
        return torch.as_tensor(recipe.tensors[name], dtype=torch.float32)

    def index(name: str) -> Tensor:
        return torch.as_tensor(recipe.tensors[name], dtype=torch.int64)

    return HeadData(
        template=single("template"),
        faces=index("faces"),
        uv_coords=single("uv_coords"),
        uv_faces=index("uv_faces"),
        shape_basis=single("shape_basis"),
        expression_basis=single("expression_basis"),
        eyelid_basis=single("eyelid_basis"),
        joint_regressor=single("joint_regressor"),
        skinning_weights=single("skinning_weights"),
        now_points=points_at_vertices(recipe.tensors["now_vertex_ids"], recipe.tensors["faces"]),
        landmark_points=landmarks,
        regions={name: torch.as_tensor(mask) for name, mask in recipe.regions.items()},
        action_names=recipe.action_names,
        action_matrix=single("action_matrix"),
        action_rotvecs=single("action_rotvecs"),
        base_vertex_ids=index("base_vertex_ids"),
        mirror_vertex_ids=index("mirror_vertex_ids"),
        gaze_axes=single("gaze_axes"),
        figures=recipe.figures,
    )


def points_at_vertices(vertex_ids: NDArray[np.int64], faces: NDArray[np.int64]) -> SurfacePoints:
    """Surface points that lie exactly on vertices: any face around each, with weight one at that corner."""
    face_ids, barycentrics = [], []
    for vertex in vertex_ids:
        face, corner = np.argwhere(faces == vertex)[0]
        face_ids.append(int(face))
        barycentrics.append(np.eye(3)[corner])
    return SurfacePoints(
        torch.tensor(face_ids), torch.tensor(np.array(barycentrics), dtype=torch.float32), torch.ones(len(face_ids))
    )
