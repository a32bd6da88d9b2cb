"""Heads predicted in a crop that was turned upright, brought back to the picture as it was given."""

from __future__ import annotations

import torch
from torch import Tensor

from sheap.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from sheap.head.model import HeadModel
from sheap.head.params import HeadParams


def turned_back(head: HeadModel, params: HeadParams, turn_deg: Tensor) -> HeadParams:
    """The heads [B] as the level crop around the same centre shows them, turned clockwise by `turn_deg` [B].

    The camera looks along -z with y up, so every vertex turns about the z axis; the root joint, about which a head's own
    rotation goes, is carried along by the translation. Heads that are turned by 0 keep their very values.
    """
    is_turned = turn_deg != 0
    if not bool(is_turned.any()):
        return params
    angle = torch.deg2rad(turn_deg.to(params.translation))
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    pivot = head.rest_joints(params)[..., 0, :]
    translation = (turn @ (pivot + params.translation)[..., None]).squeeze(-1) - pivot
    root = matrix_to_rotvec(turn @ rotvec_to_matrix(params.root_rotvec))
    chosen = is_turned.to(params.translation.device)[..., None]
    return params.replace(
        root_rotvec=torch.where(chosen, root, params.root_rotvec),
        translation=torch.where(chosen, translation, params.translation),
    )
