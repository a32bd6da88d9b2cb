"""Gradients of the geometry that carries appearance to the head model, against finite differences in float64."""

from __future__ import annotations

import torch
from torch.autograd import gradcheck

from sheap.geometry.cameras import project, published_camera
from sheap.geometry.face_frames import face_frames, uv_tangent_weights
from sheap.geometry.rigging import rig_gaussians
from sheap.networks.illumination import shade

DOUBLE = torch.float64


def randn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_rigging_to_the_mesh_and_to_every_attribute() -> None:
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [0, 2, 4]])
    uv = torch.rand(5, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    weights = uv_tangent_weights(uv, faces)
    parents = torch.tensor([0, 1, 1, 2])
    barycentrics = torch.softmax(randn(4, 3, seed=6).detach(), -1)

    def rig(vertices, offsets, scales, quats):
        frames = face_frames(vertices, faces, weights).select(parents)
        rigged = rig_gaussians(frames, barycentrics, offsets, scales, quats)
        # A quaternion's sign is arbitrary: compare what it does.
        return rigged.means, rigged.scales, rigged.normals, rigged.quats_wxyz[..., :1] * rigged.quats_wxyz

    inputs = (randn(2, 5, 3, seed=0), randn(2, 4, 3, seed=1), randn(2, 4, 2, seed=2), randn(2, 4, 4, seed=3))
    assert gradcheck(rig, inputs, atol=1e-6, rtol=1e-4)


def test_shading_to_albedo_normals_and_light() -> None:
    albedos, light = randn(2, 5, 3, seed=0), randn(2, 9, 3, seed=1)
    directions = randn(2, 5, 3, seed=2)
    lit = light.detach().clone()
    lit[:, 0] = 30.0  # bright enough everywhere: the clamp at black has no gradient to check
    lit.requires_grad_()

    def shaded(albedos, directions, light):
        return shade(albedos, torch.nn.functional.normalize(directions, dim=-1), light)

    assert gradcheck(shaded, (albedos, directions, lit), atol=1e-6, rtol=1e-4)


def test_projection_to_points() -> None:
    points = (randn(2, 6, 3, seed=0).detach() * 0.1).requires_grad_()
    cameras = published_camera(112, dtype=DOUBLE)
    assert gradcheck(lambda p: project(p, cameras), (points,), atol=1e-6, rtol=1e-4)


def test_ring_mean_to_its_nodes() -> None:
    from sheap.networks.face_graph import NeighbourMean

    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [3, 4, 2], [3, 5, 4], [6, 7, 8]])
    graph = NeighbourMean(faces)
    parents = torch.tensor([0, 0, 1, 2, 3, 4])
    nodes = randn(6, 2, 3, seed=0)
    assert gradcheck(lambda n: graph(n, parents), (nodes,), atol=1e-6, rtol=1e-4)
