"""Plain pictures of the head for MediaPipe's models to look at: vertex colours, painted brows and irises, one soft
light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.head.model import IRIS_RADIUS, HeadModel
from sheap.render.mesh import MeshFragments, interpolate, mesh_depth, mesh_normals, rasterize_mesh

SKIN, LIPS, TEETH, TONGUE = (0.80, 0.64, 0.55), (0.66, 0.36, 0.34), (0.93, 0.91, 0.86), (0.70, 0.35, 0.35)
EYE_WHITE, IRIS, PUPIL, BROW = (0.90, 0.90, 0.89), (0.30, 0.22, 0.15), (0.02, 0.02, 0.02), (0.25, 0.18, 0.14)
INSIDE = (0.25, 0.12, 0.11)
BACKGROUND = 0.55
DRAWN = ("skin", "eyeballs", "teeth", "tongue")


@dataclass(frozen=True)
class Portrait:
    """One picture, uint8 RGB [H, W, 3], and what is needed to find mesh points in it. depth [H, W] metres, 0
    outside."""

    image: NDArray[np.uint8]
    vertices: Tensor
    cameras: Cameras
    depth: Tensor


def orbit_camera(yaw_deg: float, pitch_deg: float, size: int) -> Cameras:
    """One camera that sees the whole face from 1.2 m, turned about the head's origin; positive yaw from the person's
    left, positive pitch from above."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    about_y = np.array([[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    world_to_cam = np.eye(4)
    world_to_cam[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ about_x @ about_y
    look_at = np.array([0.0, -0.02, 0.02])
    world_to_cam[:3, 3] = np.array([0, 0, 1.2]) - world_to_cam[:3, :3] @ look_at
    focal = size * 1.2 / 0.32  # 32 cm fill the picture
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Cameras(torch.tensor(world_to_cam[None]).float(), torch.tensor(K[None]).float(), size, size)


def take_portrait(head: HeadModel, vertices: Tensor, cameras: Cameras) -> Portrait:
    """Renders vertices [N, 3] of a head in one view, at twice the size and averaged down."""
    fine = Cameras(
        cameras.world_to_cam, cameras.K * torch.tensor([2.0, 2.0, 1.0])[:, None], 2 * cameras.height, 2 * cameras.width
    )
    faces = drawn_faces(head)
    fragments = rasterize_mesh(vertices, faces, fine)
    albedo = interpolate(vertex_colours(head), faces, fragments)[0]
    albedo = _paint_irises(head, faces, albedo, fragments)
    normals = mesh_normals(vertices, faces, fragments)[0]
    light = F.normalize(cameras.world_to_cam[0, :3, :3].T @ torch.tensor([-0.3, -0.5, -1.0]), dim=0)
    shade = 0.45 + 0.6 * (normals @ light).clamp(min=0)
    colour = torch.where(fragments.mask[0][..., None], albedo * shade[..., None], torch.tensor(BACKGROUND))
    image = F.avg_pool2d(colour.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    image = image.clamp(0, 1) ** (1 / 1.6)
    depth = mesh_depth(vertices, faces, cameras, rasterize_mesh(vertices, faces, cameras))[0, ..., 0]
    return Portrait((255 * image).round().to(torch.uint8).numpy(), vertices, cameras, depth)


def drawn_faces(head: HeadModel) -> Tensor:
    """Faces [F', 3] that a picture shows: all corners in a region that has a colour. Models put shells and lashes before
    the eyes, which name no region here; a head that names no skin is drawn whole."""
    masks = head.region_masks
    if "skin" not in masks:
        return head.faces
    drawn = torch.stack([masks[name] for name in DRAWN if name in masks]).any(0)
    return head.faces[drawn[head.faces].all(-1)]


def vertex_colours(head: HeadModel) -> Tensor:
    """Linear RGB [N, 3] by region, as far as the head names any."""
    colours = torch.tensor(SKIN).repeat(head.num_vertices, 1)
    for region, colour in (
        ("mouth_interior", INSIDE), ("lips", LIPS), ("teeth", TEETH), ("tongue", TONGUE), ("eyeballs", EYE_WHITE),
        ("brow_ridge", BROW),
    ):  # fmt: skip
        if region in head.region_names:
            colours[head.region_masks[region]] = torch.tensor(colour)
    return colours


def rest_eyeball(head: HeadModel, region: str) -> tuple[Tensor, Tensor, Tensor]:
    """Centre [3], radius and gaze axis [3] of an eyeball region of the mean head at rest, float64."""
    ball = head.template[head.region_masks[region]].double()
    centre = ball.mean(dim=0)
    axes = torch.tensor([[0.0, 0.0, 1.0]]).repeat(2, 1) if head.gaze_axes is None else head.gaze_axes
    return centre, (ball - centre).norm(dim=-1).mean(), axes[0 if region == "eyeball_left" else 1].double()


def _paint_irises(head: HeadModel, faces: Tensor, albedo: Tensor, fragments: MeshFragments) -> Tensor:
    """Irises and pupils by the distance from each eyeball's gaze axis at rest, pixel by pixel."""
    if "eyeballs" not in head.region_names:
        return albedo
    offsets = torch.zeros(head.num_vertices, 3)
    for region in ("eyeball_left", "eyeball_right"):
        centre, _, axis = rest_eyeball(head, region)
        ball = head.region_masks[region]
        along = (head.template[ball].double() - centre) @ axis
        across = head.template[ball].double() - centre - along[:, None] * axis
        offsets[ball] = torch.stack([across[:, 0], across[:, 1], along], dim=-1).float()
    seen = interpolate(offsets, faces, fragments)[0]
    on_ball = head.region_masks["eyeballs"][faces].all(-1)
    eyeball = on_ball[fragments.face_ids[0].clamp(min=0)] & fragments.mask[0] & (seen[..., 2] > 0)
    across = seen[..., :2].norm(dim=-1)
    albedo = torch.where((eyeball & (across < IRIS_RADIUS))[..., None], torch.tensor(IRIS), albedo)
    return torch.where((eyeball & (across < 0.4 * IRIS_RADIUS))[..., None], torch.tensor(PUPIL), albedo)
