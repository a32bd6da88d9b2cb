"""What an image of splats is: closed forms."""

from __future__ import annotations

import math

import torch

from sheap.geometry.rotations import quat_wxyz_to_matrix, rotvec_to_matrix
from sheap.render import rasterize_splats
from tests.render.made_splats import BLACK, camera, joined, offsets, splat


def test_facing_splat_is_a_gaussian_in_its_own_plane(backend: str):
    cameras = camera()
    views = rasterize_splats(splat(), cameras, background=torch.tensor([0.0, 0.0, 0.5]), backend=backend)
    x, y = offsets(cameras)
    alpha = 0.8 * torch.exp(-0.5 * ((x / 4) ** 2 + (y / 2) ** 2))
    alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
    assert torch.allclose(views.alpha[0, ..., 0], alpha, atol=1e-6)
    assert torch.allclose(views.color[0, ..., 0], alpha, atol=1e-6)
    assert torch.allclose(views.color[0, ..., 2], 0.5 * (1 - alpha), atol=1e-6)
    drawn = alpha > 0
    assert torch.allclose(views.depth[0, ..., 0][drawn], torch.ones(int(drawn.sum())), atol=1e-6)
    assert (views.depth[0, ..., 0][~drawn] == 0).all()
    # The third axis points away from the camera; the normal that is drawn faces it.
    assert torch.allclose(views.normal[0], -alpha[..., None] * torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)
    assert torch.allclose(views.contribution[0], alpha.sum()[None], rtol=1e-5)


def test_tilted_splat_follows_perspective(backend: str):
    """Alpha at a pixel is the Gaussian where the pixel's ray meets the plane, found here by solving for it."""
    cameras = camera(40, 40, 60.0)
    turn = rotvec_to_matrix(torch.tensor([0.7, -0.9, 0.4]))
    quat = torch.tensor([[math.cos(0.6), *(math.sin(0.6) * torch.nn.functional.normalize(turn[0], dim=0)).tolist()]])
    rotation = quat_wxyz_to_matrix(quat)[0]
    mean = torch.tensor([[0.05, -0.04, 0.8]])
    views = rasterize_splats(splat(means=mean, quats_wxyz=quat, scales=[[0.15, 0.1]]), cameras, background=BLACK, backend=backend)
    x, y = offsets(cameras)
    rays = torch.stack([x / 60, y / 60, torch.ones_like(x)], -1).reshape(-1, 3)
    # u t_u + v t_v - t ray = -mean
    system = torch.stack([rotation[:, 0].expand(len(rays), 3), rotation[:, 1].expand(len(rays), 3), -rays], -1)
    u, v, _ = torch.linalg.solve(system, -mean.expand(len(rays), 3)).unbind(-1)
    alpha = 0.8 * torch.exp(-0.5 * ((u / 0.15) ** 2 + (v / 0.1) ** 2)).view(40, 40)
    inside = alpha > 2 / 255
    assert inside.sum() > 300
    assert torch.allclose(views.alpha[0, ..., 0][inside], alpha[inside], atol=1e-5)
    normal = rotation[:, 2] * -torch.sign(rotation[:, 2] @ mean[0])
    assert torch.allclose(views.normal[0][inside], alpha[inside][:, None] * normal, atol=1e-5)


def test_tiny_splat_is_seen_through_the_pixel_filter(backend: str):
    cameras = camera()
    views = rasterize_splats(splat(scales=[[1e-5, 1e-5]]), cameras, background=BLACK, backend=backend)
    x, y = offsets(cameras)
    alpha = 0.8 * torch.exp(-(x**2 + y**2))
    alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
    assert torch.allclose(views.alpha[0, ..., 0], alpha, atol=1e-6)
    assert (alpha > 0).sum() == 21, "a splat of no size still covers a disc of 2.3 pixels"


def test_splats_blend_front_to_back_by_depth(backend: str):
    back = splat(means=[[0.0, 0.0, 1.5]], colors=[[0.0, 1.0, 0.0]], opacities=[0.5])
    front = splat()
    for scene in (joined(back, front), joined(front, back)):
        views = rasterize_splats(scene, camera(), background=torch.ones(3), backend=backend)
        center = views.color[0, 12, 12]
        assert torch.allclose(center, torch.tensor([0.8 + 0.1, 0.2 * 0.5 + 0.1, 0.1]), atol=1e-5)
        assert torch.allclose(views.alpha[0, 12, 12], torch.tensor([0.9]), atol=1e-6)
        depth = (0.8 * 1 + 0.2 * 0.5 * 1.5) / 0.9
        assert torch.allclose(views.depth[0, 12, 12], torch.tensor([depth]), atol=1e-5)


def test_equal_depths_blend_in_the_order_of_the_splats(backend: str):
    green = splat(colors=[[0.0, 1.0, 0.0]])
    views = rasterize_splats(joined(splat(), green), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.color[0, 12, 12], torch.tensor([0.8, 0.16, 0.0]), atol=1e-6)
    views = rasterize_splats(joined(green, splat()), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.color[0, 12, 12], torch.tensor([0.16, 0.8, 0.0]), atol=1e-6)


def test_opaque_splat_stops_at_the_cap_and_ends_the_pixel(backend: str):
    opaque = splat(opacities=[1.0])
    views = rasterize_splats(opaque, camera(), background=BLACK, backend=backend)
    assert views.alpha[0, 12, 12, 0] == torch.tensor(0.999)
    # A second one would leave 1e-6 of the light: it does not count at all, nor does anything behind it.
    behind = [splat(means=[[0.0, 0.0, 1.0 + 0.1 * i]], opacities=[1.0], colors=[[0.0, 1.0, 0.0]]) for i in (1, 2)]
    views = rasterize_splats(joined(opaque, *behind), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.color[0, 12, 12], torch.tensor([0.999, 0.0, 0.0]), atol=1e-6)
