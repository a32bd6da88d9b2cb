"""ICT Face Model Light as a head model. It has no joints: root and neck are made, rigid ones; the jaw opens by expression.

Where its expressions leave the eyeballs still (those of the published model turn the lids alone), the eyes get joints too.
"""

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
STILL = 1e-5
"""Metres: eyeballs that a look moves by less stay where they are."""
LOOK_RAD = 0.5
"""How far an eye is turned at a look's full weight: 29 degrees."""
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
    joints = ("root", "neck")
    if np.abs(arrays.expressions[_looks(arrays.expression_names)][:, eyes]).max(initial=0.0) < STILL:
        joints = (*joints, "eye_left", "eye_right")
        balls = [regions[name].numpy() for name in ("eyeball_left", "eyeball_right")]
        joint_template = np.concatenate([joint_template, np.stack([arrays.mean[ball].mean(0) for ball in balls])])
        joint_shape = np.concatenate([joint_shape, np.stack([arrays.modes[:, ball].mean(1).T for ball in balls])])
    return HeadData(
        template=float_tensor(arrays.mean),
        faces=faces,
        uv_coords=None if arrays.uv_coords is None else float_tensor(arrays.uv_coords),
        uv_faces=None if arrays.uv_faces is None else torch.as_tensor(arrays.uv_faces),
        shape_basis=float_tensor(arrays.modes.transpose(1, 2, 0)),
        expression_basis=float_tensor(arrays.expressions.transpose(1, 2, 0)),
        eyelid_basis=None,
        joint_names=joints,
        joint_regressor=None,
        joint_basis=JointBasis(
            float_tensor(joint_template), float_tensor(joint_shape), torch.zeros(len(joints), 3, len(arrays.expressions))
        ),
        skinning_weights=_weights(arrays, regions, len(joints)),
        now_points=SurfacePoints.at_vertices(np.array(LANDMARKS_68)[list(NOW_IN_68)], faces),
        regions=regions,
        action_names=names,
        action_matrix=matrix,
        action_rotvecs=_turns(names, len(joints)),
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


def _looks(names: tuple[str, ...]) -> list[int]:
    """Which expressions are looks to a side."""
    return [number for number, name in enumerate(names) if name.startswith("eyeLook")]


def _turns(names: tuple[str, ...], num_joints: int) -> Tensor:
    """What each action turns at the joints [A, J, 3]: looks turn the eye of their side, where it has a joint."""
    turns = torch.zeros(len(names), num_joints, 3)
    if num_joints == 2:
        return turns
    for number, name in enumerate(names):
        for joint, side, inwards in ((2, "Left", -1.0), (3, "Right", 1.0)):
            if name.startswith("eyeLook") and name.endswith(side):
                way = {"Up": (-1.0, 0.0), "Down": (1.0, 0.0), "In": (0.0, inwards), "Out": (0.0, -inwards)}
                across, about_y = way[name.removeprefix("eyeLook").removesuffix(side)]
                turns[number, joint] = LOOK_RAD * torch.tensor([across, about_y, 0.0])
    return turns


def _weights(arrays: IctArrays, regions: dict[str, Tensor], num_joints: int) -> Tensor:
    """[N, J]: the head goes with the neck joint whole, the neck's skin less and less towards its lower end, eyeballs with their
    own joints."""
    height = arrays.mean[:, 1]
    lowest, chin = height[:NUM_SKIN].min(), height[LANDMARKS_68[CHIN]]
    share = ((height - lowest) / (chin - lowest)).clip(0, 1)
    share[:NUM_FACE] = 1
    weights = torch.zeros(len(height), num_joints)
    weights[:, :2] = float_tensor(np.stack([1 - share, share], axis=1))
    for joint, name in ((2, "eyeball_left"), (3, "eyeball_right")):
        if joint < num_joints:
            weights[regions[name]] = torch.eye(num_joints)[joint]
    return weights


def _actions(names: tuple[str, ...]) -> tuple[tuple[str, ...], Tensor]:
    """ARKit's names, and which expressions [A, E] each moves: what ICT splits into sides and ARKit does not goes together."""
    together = ("browInnerUp", "cheekPuff")
    rows: dict[str, Tensor] = {}
    for number, name in enumerate(names):
        stem, _, side = name.partition("_")
        arkit = stem if not side or stem in together else stem + {"L": "Left", "R": "Right"}[side]
        rows.setdefault(arkit, torch.zeros(len(names)))[number] = 1
    return tuple(rows), torch.stack(list(rows.values()))
