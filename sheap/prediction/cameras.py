"""The cameras that see predicted heads: of the crop, and of the whole picture that it was cut from.

Predictions live in a fixed camera's world: x right, y up, z towards the viewer, the camera at z = 1 m. A crop of S px has its K
(sheap.geometry.cameras.published_camera). The crop with centre (cx, cy) and side s px of the picture is a part of the picture, so
the same camera sees the whole picture with another K: pixels are s / S times as large and begin at the crop's corner.

    u = cx + s f x / (1 - z)        K = [ s f   0    cx ]        f = 0.5 / tan(14.2539 deg / 2) = 3.9990
    v = cy - s f y / (1 - z)            [  0   s f   cy ]
                                        [  0    0    1  ]
"""

from __future__ import annotations

import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras, published_camera


def picture_cameras(crops: Tensor, height: int, width: int) -> Cameras:
    """Of crops [F, 3] (centre x, centre y, side, px), the cameras of the whole height x width picture: one view each,
    world_to_cam [F, 1, 4, 4], K [F, 1, 3, 3], float64."""
    unit = published_camera(1, dtype=torch.float64)
    K = torch.zeros(len(crops), 1, 3, 3, dtype=torch.float64)
    K[:, 0, 0, 0] = K[:, 0, 1, 1] = crops[:, 2] * unit.K[0, 0, 0]
    K[:, 0, :2, 2] = crops[:, :2].double()
    K[:, 0, 2, 2] = 1
    return Cameras(unit.world_to_cam.expand(len(crops), 1, 4, 4), K, height, width)
