"""Where the landmark detector really puts its points on the head: learnt, because its habits differ from the model's.

A detector was trained on other faces than a head model's landmarks were placed with, and its points slide over the face as
the head turns. What it does alike on everybody says nothing about anybody's shape, but a landmark loss would read it as
shape. So every landmark may settle beside its place on the mesh, the same for all people and changing with the head's turn;
the priors on shape and expression, which every head pays anew, leave the common part to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sheap.geometry.face_frames import face_frames

OFFSET_UNIT = 0.03
"""Metres per unit of the learnt offsets."""
NUM_TURN_TERMS = 9
"""A turn (x, y, z), its squares, and its products xy, yz, zx."""


class LandmarkCalibration(nn.Module):
    """Offsets of L landmarks from their places on the mesh, in axes of their faces: along the first edge, across, outwards.

    offsets: [L, 3], for a head that faces the camera. by_turn: [L, 3, 9], what the head's turn adds.
    """

    def __init__(self, num_landmarks: int) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(num_landmarks, 3))
        self.by_turn = nn.Parameter(torch.zeros(num_landmarks, 3, NUM_TURN_TERMS))
        self.register_buffer("first_edge", torch.tensor([1.0, 0.0]).repeat(num_landmarks, 1), persistent=False)

    def forward(self, points: Tensor, vertices: Tensor, landmark_faces: Tensor, turn_rotvec: Tensor) -> Tensor:
        """Landmarks [B, L, 3] on posed vertices [B, N, 3], whose faces have corners landmark_faces [L, 3], of heads turned by
        turn_rotvec [B, 3] (radians) -> [B, L, 3], metres."""
        frames = face_frames(vertices, landmark_faces, self.first_edge)
        turn = torch.cat([turn_rotvec, turn_rotvec.square(), turn_rotvec * turn_rotvec.roll(-1, dims=-1)], -1)
        local = (self.offsets + torch.einsum("lct,bt->blc", self.by_turn, turn)) * OFFSET_UNIT
        return points + (frames.rotations @ local[..., None]).squeeze(-1)

    def size(self) -> Tensor:
        """Mean square of all offsets, in units: what the loss keeps small. Scalar."""
        return self.offsets.square().mean() + self.by_turn.square().mean()
