"""What an encoder is told about where things lie: the frozen face-landmark network's points, as numbers of order one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sheap.networks.face_mesh import FACE_CENTER, NUM_POINTS, FaceMesh
from sheap.precision import computing_in

PLACE_UNIT = 0.1
"""Crop sides per unit of a point's place."""
FORM_UNIT = 0.02
"""Face sizes per unit of a point's departure from the mean face."""
MEAN_SIZE = 0.21
"""Near the root mean square distance of the landmarks from their middle, in crop sides (0.19 over rendered clips); what is left
over, the next layer's bias takes up."""
_CHUNK = 8
"""Pictures at a time on a CPU, whose caches hold no more."""


class FacePoints(nn.Module):
    """Places of the landmarks in the crop; the turn, size and place of the whole; and the form that is left once they are
    turned and scaled to the mean face.

    Identity and expression move a point by a hundredth of what pose does: only in the form do they show.
    mean_points: [478, 3] metres, the mean head's landmarks in head axes (x to the person's left, y up, z out of the face).
    """

    num_features = 2 * 3 * NUM_POINTS + 13

    def __init__(self, mean_points: Tensor) -> None:
        super().__init__()
        self.face_mesh = FaceMesh().to(memory_format=torch.channels_last)
        # A picture's y points down, and MediaPipe's z away from the viewer.
        mean_points = mean_points.float() * mean_points.new_tensor([1.0, -1.0, -1.0])
        mean_points = mean_points - mean_points.mean(0)
        self.register_buffer("mean_points", mean_points / _size(mean_points), persistent=False)

    @torch.compiler.disable
    @torch.no_grad()
    def forward(self, crops: Tensor) -> Tensor:
        """Head crops [B, 3, S, S] in [0, 1] -> [B, num_features], computed in float32 whatever a caller's autocast."""
        with computing_in(torch.float32, crops.device.type):
            return self._features(crops)

    def _features(self, crops: Tensor) -> Tensor:
        # An export would keep the number of parts that it was made with.
        in_parts = crops.device.type == "cpu" and not torch.jit.is_tracing() and not torch.compiler.is_exporting()
        parts = crops.split(_CHUNK) if in_parts else [crops]
        points = torch.cat([self.face_mesh.points_in_crops(part) for part in parts]).float()
        places = (points - points.new_tensor([*FACE_CENTER, 0.0])) / PLACE_UNIT
        rotation, scale = similarity_to(points, self.mean_points)
        centre = points.mean(1, keepdim=True)
        form = scale[:, None, None] * (points - centre) @ rotation.transpose(1, 2) - self.mean_points
        size = 1 / scale[:, None] - MEAN_SIZE
        pose = torch.cat([rotation.flatten(1), places.mean(1), size / PLACE_UNIT], 1)
        return torch.cat([places.flatten(1), pose, form.flatten(1) / FORM_UNIT], 1)


def similarity_to(points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation [B, 3, 3] and scale [B] of the similarity (no reflection) that brings `points` [B, P, 3] nearest to `target`
    [P, 3], which is centred, by least squares.

    Source: Umeyama, "Least-squares estimation of transformation parameters" (1991).
    """
    centred = points - points.mean(1, keepdim=True)
    left, singular, right = torch.linalg.svd(target.T @ centred)
    flip = torch.ones_like(singular)
    flip[:, 2] = torch.det(left @ right).sign()
    rotation = left * flip[:, None] @ right
    scale = (singular * flip).sum(1) / centred.square().sum((1, 2)).clamp_min(1e-12)
    return rotation, scale


def _size(points: Tensor) -> Tensor:
    """Root mean square distance from the origin."""
    return points.square().sum(-1).mean().sqrt()
