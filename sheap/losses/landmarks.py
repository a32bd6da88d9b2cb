"""Distance of the mesh's landmarks from the detected ones."""

from __future__ import annotations

import torch
from torch import Tensor

HIDDEN_WEIGHT = 0.1
"""What a landmark on the far side counts: the detector guesses it from the rest of the face."""
VISIBLE_COSINE = 0.3
"""Faces turned at least this much to the camera count fully; between 0 and this the weight rises evenly."""


def landmark_loss(predicted_px: Tensor, detected_px: Tensor, weights: Tensor, image_size: int) -> Tensor:
    """Weighted mean L1 distance in image sides: predicted and detected [..., L, 2] px, weights [..., L]. Scalar.

    L1 because detections have outliers (method.md, 9).
    """
    distances = (predicted_px - detected_px).abs().sum(-1) / image_size
    return (weights * distances).sum() / weights.sum().clamp_min(1e-8)


def visibility_weights(corners: Tensor, camera_center: Tensor) -> Tensor:
    """Weights [..., L] in HIDDEN_WEIGHT..1 of landmarks on faces with corners [..., L, 3, 3] seen from [3]. No gradient.

    A landmark counts by how far its face is turned to the camera; that the nose may stand before a cheek is not looked at.
    """
    corners = corners.detach()
    a, b, c = corners.unbind(-2)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    to_camera = torch.nn.functional.normalize(camera_center - corners.mean(-2), dim=-1)
    facing = ((normal * to_camera).sum(-1) / VISIBLE_COSINE).clamp(0, 1)
    return HIDDEN_WEIGHT + (1 - HIDDEN_WEIGHT) * facing
