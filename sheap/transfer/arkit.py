"""A face's expression as ARKit's 52 blendshape weights: bounded least squares over what each shape does to the skin and the eyes.

The open head and ICT have such shapes; for another head those of the open head are carried over at corresponding points. A shape
that a head has nothing like (no model here has a tongue that comes out) gets no weight: NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from sheap.head import HeadModel, HeadParams
from sheap.head.regions import is_near_face, outer_skin
from sheap.transfer.parameters import HeadTransfer, rigid_motion

ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft", "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight",
    "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""In ARKit's own order."""
EYE_SHARE = 0.3
"""What an eyeball's point counts beside one of the skin: they are many and turn as one."""
RIDGE = 1e-8
"""Of a squared weight, in square metres summed over points: shapes that cancel each other stay at rest."""
EYEBALLS = ("eyeball_left", "eyeball_right")


@dataclass(frozen=True)
class _Shapes:
    """names of the shapes and what they do: to the skin's points [P, 3, K] and to both eyeballs' points [2, Q, 3, K];
    eye_points [2, Q, 3]: those at rest, around their middles."""

    names: tuple[str, ...]
    skin: Tensor
    eyes: list[Tensor]
    eye_points: list[Tensor]


class ArkitWeights:
    """Weights of one head model's expressions. carried: from the open head to `head`, for a head without ARKit's shapes.

    Raises ValueError where neither says what the shapes do.
    """

    def __init__(self, head: HeadModel, carried: HeadTransfer | None = None) -> None:
        self.head = head
        self._turn = torch.eye(3, dtype=torch.float64)
        if has_arkit_shapes(head):
            skin = outer_skin(head) & is_near_face(head.template, head.now_landmarks(head.template))
            self._vertex_ids, self._metric = skin.nonzero()[:, 0], None
            self._shapes = _shapes_of(head, lambda moved: moved[self._vertex_ids])
        elif carried is not None and carried.b is head and has_arkit_shapes(carried.a):
            self._vertex_ids, self._metric, self._turn = carried.vertex_ids, carried.metric, carried.turn
            self._shapes = _shapes_of(carried.a, lambda moved: carried.on_a(moved) @ carried.turn.T)
        else:
            raise ValueError("head model: has no ARKit shapes, and none were carried over to it from the open head")
        parts = [self._measured(self._shapes.skin), *(EYE_SHARE * eyes.flatten(0, 1) for eyes in self._shapes.eyes)]
        design = torch.cat(parts).numpy()
        count = design.shape[1]
        # The squares' root: as many rows as shapes, whatever the number of points.
        self._root = np.linalg.cholesky(design.T @ design + RIDGE * np.eye(count))
        self._design = design

    def __call__(self, params: HeadParams) -> Tensor:
        """Weights [B, 52] in 0..1 of heads [B]; NaN for shapes that the head has nothing like."""
        with torch.no_grad():
            return torch.stack([self._one(params.index(k).at_rest()) for k in range(len(params.translation))])

    def _one(self, params: HeadParams) -> Tensor:
        neutral, moved = self.head.neutral(params.shape).double(), self.head(params).vertices.double()
        parts = [self._measured((moved - neutral)[self._vertex_ids][..., None]).flatten()]
        for name, points in zip(EYEBALLS, self._shapes.eye_points):
            ball = self.head.region_masks[name]
            own, _ = rigid_motion(neutral[ball], moved[ball])
            parts.append(EYE_SHARE * (points @ (self._turn.T @ own @ self._turn).T - points).flatten())
        right = np.linalg.solve(self._root, self._design.T @ torch.cat(parts).numpy())
        found = lsq_linear(self._root.T, right, bounds=(0, 1), method="bvls").x
        weights = torch.full((len(ARKIT_NAMES),), float("nan"))
        for name, weight in zip(self._shapes.names, found, strict=True):
            weights[ARKIT_NAMES.index(name)] = float(weight)
        return weights

    def _measured(self, values: Tensor) -> Tensor:
        """Offsets [P, 3, C] as rows [3 P, C]."""
        if self._metric is None:
            return values.flatten(0, 1)
        return torch.einsum("pxy,pyc->pxc", self._metric, values).flatten(0, 1)


def has_arkit_shapes(head: HeadModel) -> bool:
    """Whether the head's own actions are ARKit's, as those of the open head and of ICT are."""
    return len({*head.action_names} & {*ARKIT_NAMES}) > 40


def action_params(head: HeadModel, name: str) -> HeadParams | None:
    """The mean head doing one of ARKit's shapes; None where it has nothing like it."""
    params = HeadParams.zeros(head)
    if name in head.action_names:
        number = head.action_names.index(name)
        assert head.action_matrix is not None and head.action_rotvecs is not None
        turns = head.action_rotvecs[number]
        return HeadParams.from_parts(
            head, params.shape, head.action_matrix[number], params.eyelids, turns, params.translation
        )
    if name.startswith("eyeBlink") and params.eyelids is not None:
        return params.replace(eyelids=torch.tensor([1.0, 0.0] if name.endswith("Left") else [0.0, 1.0]))
    return None


def _shapes_of(head: HeadModel, on_skin: Callable[[Tensor], Tensor]) -> _Shapes:
    """on_skin: vertices [N, 3] to the skin's points [P, 3]."""
    names, skin, turns = [], [], []
    balls = [head.region_masks[name] for name in EYEBALLS if name in head.region_names]
    rest = head.template.double()
    for name in ARKIT_NAMES:
        params = action_params(head, name)
        if params is None:
            continue
        moved = head(params).vertices.double()
        names.append(name)
        skin.append(on_skin(moved) - on_skin(rest))
        turns.append([rigid_motion(rest[ball], moved[ball])[0] for ball in balls])
    around = [rest[ball] - rest[ball].mean(0) for ball in balls]
    eyes = [
        torch.stack([points @ (turn[side] - torch.eye(3, dtype=torch.float64)).T for turn in turns], -1)
        for side, points in enumerate(around)
    ]
    return _Shapes(tuple(names), torch.stack(skin, -1), eyes, around)
