"""From the recipe's float64 arrays to the data of the shipped file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sheap.head.data import TRAIT_NAMES, Attachments, HeadData, SurfacePoints
from sheap.head.recipe.build import Recipe

ATTACHMENT_COMPONENTS = 100
"""Lashes and hair need no finer identity: 100 components leave a quarter of a millimetre on the head itself."""

_OVER_POINTS = (
    "template", "expression_basis", "eyelid_basis", "eyelid_bulge_basis", "skinning_weights"
)  # fmt: skip


def to_head_data(recipe: Recipe, landmarks: SurfacePoints | None) -> HeadData:
    """Head data with or without MediaPipe's landmarks."""

    count = recipe.head.num_vertices

    def single(name: str) -> Tensor:
        return torch.as_tensor(recipe.tensors[name], dtype=torch.float32)

    def index(name: str) -> Tensor:
        return torch.as_tensor(recipe.tensors[name], dtype=torch.int64)

    def over_points(points: slice) -> dict[str, Any]:
        return {name: single(name)[points] for name in _OVER_POINTS}

    attachments = Attachments(
        base_ids=index("base_vertex_ids")[count:],
        shape_basis=single("shape_basis")[count:, :, :ATTACHMENT_COMPONENTS],
        **over_points(slice(count, None)),
    )
    return HeadData(
        **over_points(slice(count)),
        shape_basis=single("shape_basis")[:count],
        faces=index("faces"),
        uv_coords=single("uv_coords"),
        uv_faces=index("uv_faces"),
        joint_regressor=single("joint_regressor")[:, :count],
        now_points=SurfacePoints.at_vertices(recipe.tensors["now_vertex_ids"], index("faces")),
        landmark_points=landmarks,
        regions={name: torch.as_tensor(mask[:count]) for name, mask in recipe.regions.items()},
        action_names=recipe.action_names,
        action_matrix=single("action_matrix"),
        action_rotvecs=single("action_rotvecs"),
        base_vertex_ids=index("base_vertex_ids")[:count],
        mirror_vertex_ids=index("mirror_vertex_ids"),
        gaze_axes=single("gaze_axes"),
        trait_names=TRAIT_NAMES,
        trait_directions=single("trait_directions"),
        attachments=attachments,
        figures=recipe.figures,
    )
