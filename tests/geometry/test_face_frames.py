"""Frames of triangles and what is rigged to them."""

from __future__ import annotations

import pytest
import torch

from sheap.geometry.face_frames import FaceFrames, face_frames, uv_tangent_weights
from sheap.geometry.rigging import rig_gaussians
from sheap.geometry.rotations import quat_wxyz_to_matrix, rotvec_to_matrix

TRIANGLE = torch.tensor([[0.0, 0.0, 0.0], [0.04, 0.0, 0.0], [0.0, 0.02, 0.0]])
ONE_FACE = torch.tensor([[0, 1, 2]])


def frames_of(vertices: torch.Tensor, uv: torch.Tensor):
    return face_frames(vertices, ONE_FACE, uv_tangent_weights(uv, ONE_FACE))


def test_tangents_follow_the_uv_map_and_extents_the_face() -> None:
    frames = frames_of(TRIANGLE, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(frames.rotations[0], torch.eye(3))
    torch.testing.assert_close(frames.extents[0], torch.tensor([0.04, 0.02, 0.02]))


def test_u_running_down_the_face_turns_the_frame() -> None:
    # u grows along -y of the triangle.
    frames = frames_of(TRIANGLE, torch.tensor([[0.5, 0.0], [0.5, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(frames.rotations[0][:, 0], torch.tensor([0.0, -1.0, 0.0]))
    torch.testing.assert_close(frames.rotations[0][:, 2], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(frames.extents[0], torch.tensor([0.02, 0.04, 0.02]))


def test_a_mirrored_uv_map_keeps_the_normal_outward() -> None:
    frames = frames_of(TRIANGLE, torch.tensor([[0.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(frames.rotations[0][:, 0], torch.tensor([-1.0, 0.0, 0.0]))
    torch.testing.assert_close(frames.rotations[0][:, 2], torch.tensor([0.0, 0.0, 1.0]))
    assert torch.linalg.det(frames.rotations[0]) == pytest.approx(1.0, abs=1e-6)


def test_a_face_without_uv_area_takes_its_first_edge() -> None:
    frames = frames_of(TRIANGLE, torch.tensor([[0.3, 0.3], [0.3, 0.3], [0.3, 0.3]]))
    torch.testing.assert_close(frames.rotations[0], torch.eye(3))


def test_every_frame_of_random_faces_is_a_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(2, 60, 3, generator=generator)
    faces = torch.arange(60).view(20, 3)
    uv = torch.rand(60, 2, generator=generator)
    frames = face_frames(vertices, faces, uv_tangent_weights(uv, faces))
    eye = torch.eye(3).expand(2, 20, 3, 3)
    torch.testing.assert_close(frames.rotations.transpose(-1, -2) @ frames.rotations, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(frames.rotations), torch.ones(2, 20), atol=1e-5, rtol=0)
    # Extents against the plain definition: reach of the corners along each axis.
    along = torch.einsum("bfca,bfak->bfck", frames.corners, frames.rotations)[..., :2]
    torch.testing.assert_close(frames.extents[..., :2], along.amax(-2) - along.amin(-2), atol=1e-5, rtol=1e-5)


def test_rigging_follows_its_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    frames = frames_of(torch.randn(3, 3, generator=generator), torch.rand(3, 2, generator=generator))
    offsets = torch.tensor([[0.5, -1.0, 2.0]])
    quats = torch.randn(1, 4, generator=generator)
    scales = torch.tensor([[0.3, 0.6]])
    rigged = rig_gaussians(frames, torch.full((1, 3), 1 / 3), offsets, scales, quats)
    rotation, extents = frames.rotations[0], frames.extents[0]
    center = frames.corners[0].mean(0)
    torch.testing.assert_close(rigged.means[0], center + rotation @ (extents * offsets[0]))
    torch.testing.assert_close(rigged.scales[0], scales[0] * extents[:2])
    world = rotation @ quat_wxyz_to_matrix(quats)[0]
    torch.testing.assert_close(quat_wxyz_to_matrix(rigged.quats_wxyz)[0], world, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rigged.normals[0], world[:, 2], atol=1e-5, rtol=1e-5)


def test_gaussians_move_rigidly_with_their_mesh() -> None:
    generator = torch.Generator().manual_seed(2)
    vertices, uv = torch.randn(30, 3, generator=generator), torch.rand(30, 2, generator=generator)
    faces = torch.arange(30).view(10, 3)
    weights = uv_tangent_weights(uv, faces)
    barycentrics = torch.full((10, 3), 1 / 3)
    local = (
        torch.randn(10, 3, generator=generator),
        torch.rand(10, 2, generator=generator),
        torch.randn(10, 4, generator=generator),
    )
    rotation, shift = rotvec_to_matrix(torch.tensor([0.4, -1.1, 0.7])), torch.tensor([0.1, -0.3, 2.0])
    still = rig_gaussians(face_frames(vertices, faces, weights), barycentrics, *local)
    moved = rig_gaussians(face_frames(vertices @ rotation.T + shift, faces, weights), barycentrics, *local)
    torch.testing.assert_close(moved.means, still.means @ rotation.T + shift, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved.scales, still.scales, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved.normals, still.normals @ rotation.T, atol=1e-5, rtol=1e-5)
    world = quat_wxyz_to_matrix(still.quats_wxyz)
    torch.testing.assert_close(quat_wxyz_to_matrix(moved.quats_wxyz), rotation @ world, atol=1e-5, rtol=1e-5)


def test_rigging_in_batches_is_the_published_formula_entry_by_entry() -> None:
    """method.md, 6, with uneven anchors and rotations that are not unit; one of length zero is the identity."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    rotations = torch.linalg.qr(normal(2, 4, 3, 3))[0]
    rotations = rotations * torch.linalg.det(rotations)[..., None, None]
    frames = FaceFrames(normal(2, 4, 3, 3), rotations, normal(2, 4, 3).abs() + 0.1)
    barycentrics = normal(4, 3).abs()
    barycentrics /= barycentrics.sum(-1, keepdim=True)
    offsets, scales, quats = normal(2, 4, 3), normal(2, 4, 2).abs(), 5 * normal(2, 4, 4)
    quats[0, 1] *= 1e-6
    quats[1, 2] = 0
    rigged = rig_gaussians(frames, barycentrics, offsets, scales, quats)
    for b in range(2):
        for g in range(4):
            extents, own = frames.extents[b, g], quats[b, g]
            local = torch.eye(3, dtype=torch.float64) if own.norm() == 0 else quat_wxyz_to_matrix(own)
            anchor = sum(barycentrics[g, corner] * frames.corners[b, g, corner] for corner in range(3))
            mean = anchor + rotations[b, g] @ torch.diag(extents) @ offsets[b, g]
            torch.testing.assert_close(rigged.means[b, g], mean)
            expected_scales = torch.stack([scales[b, g, 0] * extents[0], scales[b, g, 1] * extents[1]])
            torch.testing.assert_close(rigged.scales[b, g], expected_scales)
            torch.testing.assert_close(rigged.normals[b, g], (rotations[b, g] @ local)[:, 2])
            if own.norm() > 0:
                torch.testing.assert_close(quat_wxyz_to_matrix(rigged.quats_wxyz[b, g]), rotations[b, g] @ local)
                assert float(rigged.quats_wxyz[b, g].norm()) == pytest.approx(1.0)
