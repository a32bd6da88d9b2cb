"""Pinhole cameras, OpenCV axes (+x right, +y down, +z forward), pixel centres at +0.5."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.records import TensorRecord

PUBLISHED_FOV_DEG = 14.2539
"""Vertical field of view of SHeaP's fixed camera, degrees."""

PUBLISHED_DISTANCE = 1.0
"""Metres from the fixed camera to the world's origin, along +z of the world (OpenGL style)."""


@dataclass(frozen=True)
class Cameras(TensorRecord):
    """A batch of pinhole cameras that share one image size.

    world_to_cam: [..., V, 4, 4], metres, OpenCV axes. K: [..., V, 3, 3], pixels of a height x width image.
    """

    world_to_cam: Tensor
    K: Tensor
    height: int
    width: int


def published_camera(
    size: int,
    *,
    fov_deg: float = PUBLISHED_FOV_DEG,
    distance: float = PUBLISHED_DISTANCE,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Cameras:
    """SHeaP's fixed camera for size x size crops: one view ([1, 4, 4] and [1, 3, 3]).

    The published camera is OpenGL's (at z = +distance, looking down -z, y up). This is the one place where it becomes
    OpenCV's: camera x = world x, camera y = -world y, camera z = distance - world z.
    """
    world_to_cam = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=dtype, device=device))
    world_to_cam[2, 3] = distance
    focal = 0.5 * size / math.tan(math.radians(fov_deg) / 2)
    K = torch.tensor(
        [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], dtype=dtype, device=device
    )
    return Cameras(world_to_cam[None], K[None], size, size)


def project(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """World points [..., P, 3] seen by every camera: pixels [..., V, P, 2] and depths [..., V, P] (metres along +z).

    Points at or behind the camera's plane are divided by 1e-6 m: their depth tells them apart.
    """
    rotation, translation = cameras.world_to_cam[..., :3, :3], cameras.world_to_cam[..., :3, 3]
    in_cam = points[..., None, :, :] @ rotation.transpose(-1, -2) + translation[..., None, :]
    depth = in_cam[..., 2]
    on_plane = in_cam[..., :2] / depth.clamp_min(1e-6)[..., None]
    focal = cameras.K[..., :2, :2]
    pixels = on_plane @ focal.transpose(-1, -2) + cameras.K[..., None, :2, 2]
    return pixels, depth
