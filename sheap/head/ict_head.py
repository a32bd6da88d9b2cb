"""ICT Face Model Light as a head model. It has no joints: root and neck are made, rigid ones; jaw and eyes are expressions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sheap.head.array_files import float_tensor
from sheap.head.data import HeadData, JointBasis, SurfacePoints
from sheap.head.ict import EYEBALLS, LANDMARKS_68, NOW_IN_68, NUM_FACE, NUM_SKIN, NUM_VERTICES, IctArrays, read_ict_arrays

ROOT_FROM_EYES = (0.0, 0.0, -0.06)
NECK_FROM_EYES = (0.0, -0.117, -0.104)
"""Metres from the middle of the eyes to the joints that are made: the open head's places."""
CHIN = 8
"""Of the 68 landmarks: below it the neck's share of the skin fades."""


def read_ict_head(path: Path) -> HeadData:
    """Raises ValueError naming file and array when it is not ICT's model, OSError when it cannot be read."""
    arrays = read_ict_arrays(path)
    regions = _regions(arrays)
    eyes = regions["eyeballs"].numpy()
    middle = arrays.mean[eyes].mean(0)
    joint_template = np.stack([middle + ROOT_FROM_EYES, middle + NECK_FROM_EYES])
    joint_shape = np.repeat(arrays.modes[:, eyes].mean(1).T[None], 2, axis=0)
    faces = torch.as_tensor(arrays.faces)
    names, matrix = _actions(arrays.expression_names)
    return HeadData(
        template=float_tensor(arrays.mean),
        faces=faces,
        uv_coords=None if arrays.uv_coords is None else float_tensor(arrays.uv_coords),
        uv_faces=None if arrays.uv_faces is None else torch.as_tensor(arrays.uv_faces),
        shape_basis=float_tensor(arrays.modes.transpose(1, 2, 0)),
        expression_basis=float_tensor(arrays.expressions.transpose(1, 2, 0)),
        eyelid_basis=None,
        joint_names=("root", "neck"),
        joint_regressor=None,
        joint_basis=JointBasis(
            float_tensor(joint_template), float_tensor(joint_shape), torch.zeros(2, 3, len(arrays.expressions))
        ),
        skinning_weights=_weights(arrays),
        now_points=SurfacePoints.at_vertices(np.array(LANDMARKS_68)[list(NOW_IN_68)], faces),
        regions=regions,
        action_names=names,
        action_matrix=matrix,
        action_rotvecs=torch.zeros(len(names), 2, 3),
    )


def _regions(arrays: IctArrays) -> dict[str, Tensor]:
    """By ICT's own vertex ranges. (A compact copy has the eyeballs right after the skin.)"""
    count = len(arrays.mean)
    number = torch.arange(count)
    whole = count == NUM_VERTICES
    left, right, end = EYEBALLS if whole else (NUM_SKIN, NUM_SKIN + (count - NUM_SKIN) // 2, count)
    regions = {
        "face": number < NUM_FACE, "skin": number < NUM_SKIN,
        "eyeball_left": (number >= left) & (number < right), "eyeball_right": (number >= right) & (number < end),
    }  # fmt: skip
    return regions | {"eyeballs": regions["eyeball_left"] | regions["eyeball_right"]}


def _weights(arrays: IctArrays) -> Tensor:
    """[N, 2]: the head goes with the neck joint whole, the neck's skin less and less towards its lower end."""
    height = arrays.mean[:, 1]
    lowest, chin = height[:NUM_SKIN].min(), height[LANDMARKS_68[CHIN]]
    share = ((height - lowest) / (chin - lowest)).clip(0, 1)
    share[:NUM_FACE] = 1
    return float_tensor(np.stack([1 - share, share], axis=1))


def _actions(names: tuple[str, ...]) -> tuple[tuple[str, ...], Tensor]:
    """ARKit's names, and which expressions [A, E] each moves: what ICT splits into sides and ARKit does not goes together."""
    together = ("browInnerUp", "cheekPuff")
    rows: dict[str, Tensor] = {}
    for number, name in enumerate(names):
        stem, _, side = name.partition("_")
        arkit = stem if not side or stem in together else stem + {"L": "Left", "R": "Right"}[side]
        rows.setdefault(arkit, torch.zeros(len(names)))[number] = 1
    return tuple(rows), torch.stack(list(rows.values()))
