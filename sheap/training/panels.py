"""Pictures of what a network has learnt: a row a pair, source | target | render | mesh overlay | normals | cross-reenactment."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.data.pairs import PairBatch
from sheap.geometry.cameras import project
from sheap.networks.head_codes import reenact
from sheap.networks.head_render import render_head
from sheap.networks.sheap_network import SheapNetwork
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.training.inputs import to_pairs
from sheap.training.step import Models

COLUMNS = ("source", "target", "render", "mesh overlay", "normals", "as the next row's target")
DETECTED, PREDICTED = (0.1, 0.9, 0.2), (1.0, 0.2, 0.1)
"""Colours of landmarks in the overlay."""


@torch.no_grad()
def draw_panel(models: Models, network: SheapNetwork, batch: PairBatch) -> NDArray[np.uint8]:
    """One picture, uint8 [B * S, 6 * S, 3], of B pairs as `network` sees them.

    The overlay lays the mesh, grey, over the target, with its landmarks in red on the detected ones in green. Normals are
    the render's, in the world: red to the person's left, green up, blue to the camera. The last column is the source's
    identity in the expression and pose of the next row's target: another person, where the rows show several.
    """
    pairs = to_pairs(batch, torch.Generator().manual_seed(0))
    cameras, head = models.cameras, network.head
    images = torch.cat([pairs.source.images, pairs.target.images]).permute(0, 3, 1, 2)
    source, target = network.encode(images).split([len(pairs.source)] * 2)
    codes = reenact(source, target)
    params = codes.head_params()
    image_features = models.dinov2(pairs.source.images.permute(0, 3, 1, 2)) if models.dinov2 else None
    plain = torch.full_like(pairs.background, 1.0)
    drawn = render_head(network, codes, cameras, plain, image_features)
    next_target = target.rolled()
    crossed = render_head(network, reenact(source, next_target), cameras, plain, image_features)
    vertices = drawn.vertices

    overlay = _shaded_mesh(vertices, head.faces, pairs.target.images, models)
    _draw_points(overlay, pairs.target.landmarks, DETECTED)
    landmark_faces = head.faces[head.landmark_faces]
    turn = params.root_rotvec + params.neck_rotvec
    points = network.landmark_calibration(head.landmarks(vertices), vertices, landmark_faces, turn)
    _draw_points(overlay, project(points, cameras)[0][:, 0], PREDICTED)
    normals = (drawn.normals * 0.5 + 0.5) * drawn.alpha + 1 - drawn.alpha
    columns = [pairs.source.images, pairs.target.images, drawn.color, overlay, normals, crossed.color]
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
