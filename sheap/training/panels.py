"""Pictures of what a network has learnt: a row a pair, source | target | render | mesh overlay | normals | cross-reenactment."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.data.frames import Pairs
from sheap.geometry.cameras import project
from sheap.networks.head_codes import reenact
from sheap.networks.reenactment import Reenactor
from sheap.networks.sheap_network import SheapNetwork
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.training.step import Models

COLUMNS = ("source", "target", "render", "mesh overlay", "normals", "as the next row's target")
DETECTED, PREDICTED = (0.1, 0.9, 0.2), (1.0, 0.2, 0.1)
"""Colours of landmarks in the overlay."""


@torch.no_grad()
def draw_panel(models: Models, network: SheapNetwork, pairs: Pairs) -> NDArray[np.uint8]:
    """One picture, uint8 [B * S, 6 * S, 3], of B pairs as `network` sees them.

    The overlay lays the mesh, grey, over the target, with its landmarks in red on the detected ones in green. Normals are
    the render's, in the world: red to the person's left, green up, blue to the camera. The last column is the source's
    identity in the expression and pose of the next row's target: another person, where the rows show several.
    """
    reenactor, head = Reenactor(network, models.cameras, models.dinov2), network.head
    source_images, target_images = pairs.source.colors(), pairs.target.colors()
    white = source_images.new_ones(len(pairs), 3)
    made = reenactor(source_images, target_images, white)
    crossed = reenactor.draw(reenact(made.source, made.target.rolled()), source_images, white)
    drawn, vertices, params = made.head, made.head.vertices, made.codes.params

    overlay = _shaded_mesh(vertices, head.faces, target_images, models)
    _draw_points(overlay, pairs.target.landmarks[..., :2], DETECTED)
    landmark_faces = head.faces[head.landmark_faces]
    points = network.landmark_calibration(head.landmarks(vertices), vertices, landmark_faces, params.turn)
    _draw_points(overlay, project(points, models.cameras)[0][:, 0], PREDICTED)
    normals = (drawn.normals * 0.5 + 0.5) * drawn.alpha + 1 - drawn.alpha
    columns = [source_images, target_images, drawn.color, overlay, normals, crossed.color]
    rows = torch.cat([column.float().cpu() for column in columns], dim=2).flatten(0, 1)
    return (rows.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _shaded_mesh(vertices: Tensor, faces: Tensor, images: Tensor, models: Models) -> Tensor:
    """The mesh in headlight grey, half through the image: [B, H, W, 3]."""
    fragments = rasterize_mesh(vertices, faces, models.cameras)
    facing = mesh_normals(vertices, faces, fragments)[:, 0, ..., 2:].abs()
    covered = fragments.mask[:, 0, ..., None].to(images)
    return images * (1 - 0.6 * covered) + 0.6 * covered * facing


def _draw_points(images: Tensor, points: Tensor, color: tuple[float, float, float]) -> None:
    """Sets the pixels of every third point [B, L, 2]; points outside are left out."""
    height, width = images.shape[1:3]
    batch = torch.arange(len(images), device=images.device)[:, None].expand(points.shape[:2])
    column, row = points.floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    inside &= torch.arange(points.shape[1], device=images.device) % 3 == 0
    images[batch[inside], row[inside], column[inside]] = torch.tensor(color, device=images.device)
