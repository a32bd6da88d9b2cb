"""Scenes of flat Gaussians for tests and timings: splats bound to the head, random clouds, and deliberately nasty
ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras, published_camera
from sheap.geometry.rotations import matrix_to_quat_wxyz, rotvec_to_matrix
from sheap.head import HeadModel
from sheap.render import Splats
from sheap.render.mesh import face_normals

NASTY_KINDS = ("cloud", "tiny", "huge", "grazing", "behind", "coincident", "opaque", "faint", "odd_quats", "points")


def head_splats(num_splats: int, *, batch: int = 1, seed: int = 0) -> Splats:
    """`num_splats` splats spread evenly over the head model's faces, as a newly bound, half-trained head has them.

    Each lies in its face, as wide as its share of the head's surface, with an opacity between 0.05 and 1 and its
    normal as colour. Scenes of a batch are the same head, turned by up to 30 degrees and drawn from other random
    numbers. float32, [batch, num_splats, ...].
    """
    head = HeadModel.load()
    corners = head.template[head.faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1) / 2
    normals = face_normals(head.template, head.faces)
    tangents = torch.nn.functional.normalize(corners[:, 1] - corners[:, 0], dim=-1)
    frames = torch.stack([tangents, torch.linalg.cross(normals, tangents), normals], -1)
    # One sigma such that the splats' one-sigma discs together cover the surface once.
    sigma = math.sqrt(float(areas.sum()) / num_splats / math.pi)
    scenes = []
    for index in range(batch):
        generator = torch.Generator().manual_seed(seed + index)
        rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: B023, E731
        face_ids = torch.multinomial(areas, num_splats, replacement=True, generator=generator)
        root = rand(num_splats, 1).sqrt()
        second = rand(num_splats, 1)
        weights = torch.cat([1 - root, root * (1 - second), root * second], -1)
        turn = _head_turn(generator)
        means = (corners[face_ids] * weights[..., None]).sum(1)
        scenes.append(
            Splats(
                means=means @ turn.T,
                quats_wxyz=matrix_to_quat_wxyz(turn @ frames[face_ids]),
                scales=sigma * (0.5 + rand(num_splats, 2)),
                opacities=0.05 + 0.95 * rand(num_splats),
                colors=0.5 + 0.5 * normals[face_ids],
            )
        )
    return Splats(*(torch.stack([getattr(s, name) for s in scenes]) for name in Splats.__dataclass_fields__))


def head_scene(num_splats: int, size: int) -> tuple[Splats, Cameras, Tensor]:
    """`head_splats` before the published camera, white behind it, with the leading dims of `nasty_scene`."""
    camera = head_camera(size)
    cameras = Cameras(camera.world_to_cam[None], camera.K[None], size, size)
    return head_splats(num_splats), cameras, torch.ones(3)


def head_meshes(batch: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The head model's mesh, turned at random: vertices [batch, N, 3] and faces [F, 3]."""
    head = HeadModel.load()
    turns = torch.stack([_head_turn(torch.Generator().manual_seed(seed + index)) for index in range(batch)])
    return head.template @ turns.transpose(-1, -2), head.faces


def _head_turn(generator: torch.Generator) -> Tensor:
    """A rotation [3, 3] by up to 30 degrees, most of it sideways."""
    return rotvec_to_matrix((torch.rand(3, generator=generator) - 0.5) * torch.tensor([0.3, 1.0, 0.2]))


def head_camera(size: int) -> Cameras:
    """The published camera."""
    return published_camera(size)


def nasty_scene(
    kind: str, *, seed: int, batch: int = 1, num_views: int = 1, num_splats: int = 60, num_colors: int = 3,
    height: int = 40, width: int = 56,
) -> tuple[Splats, Cameras, Tensor]:  # fmt: skip
    """One of NASTY_KINDS: float32 splats, cameras and a background [..., V, D].

    cloud: random. tiny: narrower than a pixel. huge: wider than the image. grazing: nearly edge-on. behind: around and
    behind the camera. coincident: many means at exactly equal depths. opaque: opacities at and near 1, deep stacks.
    faint: opacities at and near 0 and the cut-off. odd_quats: quaternions of any length and zero. points: scales 0.
    """
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shape = (batch, num_splats)
    # Cameras look at the origin from about a metre; the field of view holds a box of about 25 cm.
    focal = 3.5 * max(height, width)
    K = torch.zeros(batch, num_views, 3, 3)
    K[..., 0, 0] = focal * (1 + 0.2 * rand(batch, num_views))
    K[..., 1, 1] = focal * (1 + 0.2 * rand(batch, num_views))
    K[..., 0, 2] = width * (0.5 + 0.1 * randn(batch, num_views))
    K[..., 1, 2] = height * (0.5 + 0.1 * randn(batch, num_views))
    K[..., 2, 2] = 1
    world_to_cam = torch.eye(4).repeat(batch, num_views, 1, 1)
    if kind != "coincident":
        world_to_cam[..., :3, :3] = rotvec_to_matrix(0.3 * randn(batch, num_views, 3))
    world_to_cam[..., :2, 3] = 0.02 * randn(batch, num_views, 2)
    world_to_cam[..., 2, 3] = 1

    means = 0.08 * randn(*shape, 3)
    quats = randn(*shape, 4)
    quats = quats / quats.norm(dim=-1, keepdim=True)
    scales = 0.002 + 0.02 * rand(*shape, 2)
    opacities = rand(*shape)
    if kind == "tiny":
        scales = 0.003 * rand(*shape, 2).pow(4)
    elif kind == "huge":
        scales = 0.05 + rand(*shape, 2)
        opacities = 0.3 * opacities
    elif kind == "grazing":
        # The splat's plane contains the camera's centre, but for a small tilt: its normal is across the line of sight.
        camera_center = -world_to_cam[:, 0, :3, :3].transpose(-1, -2) @ world_to_cam[:, 0, :3, 3:]
        sight = torch.nn.functional.normalize(means - camera_center.transpose(-1, -2), dim=-1)
        across = torch.nn.functional.normalize(torch.linalg.cross(sight, randn(*shape, 3)), dim=-1)
        tilt = 0.1 * randn(*shape, 1).pow(3)
        normal = torch.nn.functional.normalize(across + tilt * sight, dim=-1)
        tangent = torch.nn.functional.normalize(sight - (sight * normal).sum(-1, keepdim=True) * normal, dim=-1)
        quats = matrix_to_quat_wxyz(torch.stack([tangent, torch.linalg.cross(normal, tangent), normal], -1))
    elif kind == "behind":
        means = torch.cat([0.3 * randn(*shape, 2), -1 + 0.4 * randn(*shape, 1)], -1)
        scales = 0.01 + 0.2 * rand(*shape, 2)
    elif kind == "coincident":
        means[..., 2] = torch.randint(-4, 5, shape, generator=generator) / 64
    elif kind == "opaque":
        opacities = torch.where(rand(*shape) < 0.5, torch.ones(shape), 1 - 0.01 * rand(*shape))
        scales = 0.01 + 0.04 * rand(*shape, 2)
    elif kind == "faint":
        levels = torch.tensor([0.0, 1e-6, 0.5 / 255, 1.01 / 255, 2 / 255, 0.02])
        opacities = levels[torch.randint(0, len(levels), shape, generator=generator)]
    elif kind == "odd_quats":
        quats = quats * torch.pow(10.0, 6 * rand(*shape, 1) - 3)
        quats[:, ::7] = 0
    elif kind == "points":
        scales = scales * (rand(*shape, 2) < 0.5)
    elif kind != "cloud":
        raise ValueError(f"kind: expected one of {NASTY_KINDS}, got {kind!r}")
    splats = Splats(means, quats, scales, opacities, rand(*shape, num_colors))
    return splats, Cameras(world_to_cam, K, height, width), rand(batch, num_views, num_colors)
