"""Regions that a head model's own arrays say, whoever made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sheap.head.model import HeadModel

FACE_RADIUS_M = 0.095
"""Skin this near to the middle of the face is what NoW crops from a scan."""


def eyeball_regions(left_weights: Tensor, right_weights: Tensor) -> dict[str, Tensor]:
    """Eyeballs as what hangs mostly on the eyes' joints (skinning weights [N] each), and the skin as the rest: masks [N]. Empty
    where nothing does."""
    left, right = left_weights > 0.5, right_weights > 0.5
    if not (left.any() and right.any()):
        return {}
    return {"eyeball_left": left, "eyeball_right": right, "eyeballs": left | right, "skin": ~(left | right)}


def is_near_face(points: Tensor, now_landmarks: Tensor) -> Tensor:
    """Mask [P] of points [P, 3] as near to the middle of the face as NoW crops it; now_landmarks [7, 3] of the same head."""
    middle = now_landmarks[4] + 0.3 * ((now_landmarks[1] + now_landmarks[2]) / 2 - now_landmarks[4])
    return (points - middle).norm(dim=-1) < FACE_RADIUS_M


def outer_skin(head: HeadModel) -> Tensor:
    """Mask [N] of the skin without the inside of mouth and eye sockets, named or found (`hidden`); every vertex where a head
    names no skin."""
    masks = head.region_masks
    outer = masks["skin"].clone() if "skin" in masks else torch.ones(head.num_vertices, dtype=torch.bool)
    for name in ("mouth_interior", "eye_sockets", "hidden"):
        if name in masks:
            outer &= ~masks[name]
    return outer
