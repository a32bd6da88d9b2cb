"""Where in a crop the face is, how large and how turned: the second look's window, from a rigid fit to landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sheap.geometry.rotations import nearest_rotation
from sheap.records import TensorRecord
from sheap.video.head_pose import RIGID_LANDMARKS

FACE_MIDDLE_M = (0.0, -0.02, 0.05)
"""The middle of the window in head axes: on the bridge of the nose, a little below the eyes."""


@dataclass(frozen=True)
class FaceWindows(TensorRecord):
    """Weak perspective fits of B heads: a head point p (metres, head axes) is seen at origin + scale * (rotation @ p), where
    rotation [B, 3, 3] goes from head axes to the crop's (x right, y down, z away), scale [B] is in crop sides a metre, and
    origin [B, 3] in crop sides."""

    rotation: Tensor
    scale: Tensor
    origin: Tensor

    num_features: ClassVar[int] = 9 + 1 + 2

    def features(self) -> Tensor:
        """The windows as numbers of order one [B, num_features]."""
        return torch.cat([self.rotation.flatten(1), self.scale[:, None] * 0.30 - 1, 4 * (self.origin[:, :2] - 0.5)], 1)

    def frame(self) -> tuple[Tensor, Tensor]:
        """Middles [B, 2] in crop sides, and axes [B, 2, 2]: columns are a metre across and a metre down the upright face."""
        middle = self.rotation.new_tensor(FACE_MIDDLE_M)
        centre = self.origin[:, :2] + self.scale[:, None] * (self.rotation[:, :2] @ middle)
        down = -self.rotation[:, :2, 1]
        down = down / down.norm(dim=1, keepdim=True).clamp_min(1e-6)
        across = torch.stack([down[:, 1], -down[:, 0]], 1)
        return centre, torch.stack([across, down], 2) * self.scale[:, None, None]

    def cut(self, images: Tensor, size: int, side_m: float) -> Tensor:
        """What the windows, side_m metres wide at the head, show of crops [B, 3, S, S]: [B, 3, size, size], border repeated."""
        centre, axes = self.frame()
        # Crop sides 0..1 become grid_sample's -1..1; a window reaches half its side to either direction.
        theta = torch.cat([axes * side_m, (2 * centre - 1)[:, :, None]], 2)
        grid = torch.nn.functional.affine_grid(theta, [images.shape[0], 3, size, size], align_corners=False)
        return torch.nn.functional.grid_sample(images, grid.to(images), padding_mode="border", align_corners=False)

    def inside(self, places: Tensor, side_m: float) -> Tensor:
        """Places [B, L, 2] in crop sides as places in the windows, -1 to 1 from edge to edge."""
        centre, axes = self.frame()
        return (places - centre[:, None]) @ axes / self.scale[:, None, None].square() * (2 / side_m)

    def place(self, mean_points: Tensor, deviations: Tensor) -> Tensor:
        """Landmarks [B, L, 3] in crop sides: the mean head's, posed, moved by deviations [B, L, 2] (crop sides of a head of
        ordinary size, along the upright face's axes)."""
        posed = self.origin[:, None] + self.scale[:, None, None] * (mean_points @ self.rotation.mT)
        _, axes = self.frame()
        moved = posed[..., :2] + deviations @ (0.30 * axes).mT
        return torch.cat([moved, posed[..., 2:]], -1)


def fit_windows(places: Tensor, mean_points: Tensor) -> FaceWindows:
    """Similarity fits (Umeyama 1991) of the mean head's landmarks [L, 3] (metres, head axes) to places [B, L, 3] in crop sides
    (x right, y down, z away), over the points that expressions hardly move. No gradient passes."""
    rigid = torch.as_tensor(RIGID_LANDMARKS, device=places.device)
    with torch.no_grad():
        seen, model = places[:, rigid].double(), mean_points[rigid].double()
        seen_mean, model_mean = seen.mean(1), model.mean(0)
        seen, model = seen - seen_mean[:, None], model - model_mean
        turned = seen.mT @ model
        # The crop's axes (x right, y down, z away) are a half turn of the head's: no reflection.
        rotation = nearest_rotation(turned)
        scale = ((rotation * turned).sum((1, 2)) / model.square().sum()).clamp_min(0.5)
        origin = seen_mean - scale[:, None] * (rotation @ model_mean)
    return FaceWindows(rotation.to(places), scale.to(places), origin.to(places))
