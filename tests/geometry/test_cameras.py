from __future__ import annotations

import math

import pytest
import torch

from sheap.geometry.cameras import PUBLISHED_FOV_DEG, Cameras, project, published_camera


def test_published_camera_sees_up_as_up_and_the_persons_left_on_the_right() -> None:
    points = torch.tensor([[0.0, 0, 0], [0.05, 0, 0], [0, 0.05, 0], [0, 0, 0.1]])
    pixels, depth = project(points, published_camera(224))
    centre, left_of_person, up, nearer = pixels[0]
    assert centre.tolist() == pytest.approx([112, 112])
    assert left_of_person[0] > 112 and left_of_person[1] == pytest.approx(112)
    assert up[1] < 112 and up[0] == pytest.approx(112)
    assert depth[0].tolist() == pytest.approx([1, 1, 1, 0.9])
    assert nearer.tolist() == pytest.approx([112, 112])


def test_published_camera_is_a_rigid_pose_and_a_pinhole_of_the_crop() -> None:
    camera = published_camera(64, dtype=torch.float64)
    expected = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
    expected[2, 3] = 1
    assert torch.equal(camera.world_to_cam[0], expected) and (camera.height, camera.width) == (64, 64)
    focal = 32 / math.tan(math.radians(PUBLISHED_FOV_DEG / 2))
    assert camera.K[0].flatten().tolist() == pytest.approx([focal, 0, 32, 0, focal, 32, 0, 0, 1])


def test_cameras_are_made_where_and_move_as_they_are_told() -> None:
    made = published_camera(64, dtype=torch.float64, device="meta")
    assert made.world_to_cam.device.type == made.K.device.type == "meta"
    camera = Cameras(torch.eye(4)[None], 2 * torch.eye(3)[None], 5, 7)
    moved = camera.to("meta", dtype=torch.float64)
    assert moved.world_to_cam.device.type == moved.K.device.type == "meta"
    assert moved.world_to_cam.dtype == moved.K.dtype == torch.float64
    assert moved.world_to_cam.shape == (1, 4, 4) and moved.K.shape == (1, 3, 3)
    assert (moved.height, moved.width) == (5, 7)


def test_projection_follows_the_equations_for_any_pose_and_skewed_pixels() -> None:
    """Point by point, with a K whose two axes differ and whose pixels are skewed."""
    generator = torch.Generator().manual_seed(2)
    points = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    pose = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    pose[:, :3, :3] = torch.linalg.qr(torch.randn(2, 3, 3, dtype=torch.float64, generator=generator))[0]
    pose[:, :3, 3] = torch.tensor([[0.1, -0.2, 9.0], [0.3, 0.4, 8.0]], dtype=torch.float64)
    K = torch.tensor([[[90.0, 3, 31], [0, 80, 33], [0, 0, 1]], [[70.0, -2, 30], [0, 60, 29], [0, 0, 1]]], dtype=torch.float64)
    pixels, depth = project(points, Cameras(pose, K, 64, 64))
    for view in range(2):
        for k, point in enumerate(points):
            x, y, z = pose[view, :3, :3] @ point + pose[view, :3, 3]
            homogeneous = K[view] @ torch.stack([x / z, y / z, torch.ones_like(z)])
            torch.testing.assert_close(pixels[view, k], homogeneous[:2])
            torch.testing.assert_close(depth[view, k], z)


def test_points_at_or_behind_the_camera_are_divided_by_a_micrometre() -> None:
    camera = Cameras(torch.eye(4, dtype=torch.float64)[None], torch.eye(3, dtype=torch.float64)[None], 1, 1)
    points = torch.tensor([[1.0, 2, 0], [1, 2, -3], [1, 2, 0.5]], dtype=torch.float64)
    pixels, depth = project(points, camera)
    assert pixels[0].tolist() == [pytest.approx([1e6, 2e6]), pytest.approx([1e6, 2e6]), pytest.approx([2, 4])]
    assert depth[0].tolist() == [0, -3, 0.5]


@pytest.mark.parametrize("size", [112, 224])
def test_published_field_of_view_spans_the_image(size: int) -> None:
    half_height = math.tan(math.radians(PUBLISHED_FOV_DEG) / 2)
    points = torch.tensor([[0.0, half_height, 0], [0, -half_height, 0]], dtype=torch.float64)
    pixels, _ = project(points, published_camera(size, dtype=torch.float64))
    assert pixels[0, :, 1].tolist() == pytest.approx([0, size])


def test_batches_of_scenes_and_views_broadcast() -> None:
    one = published_camera(64)
    cameras = Cameras(one.world_to_cam.expand(2, 3, 4, 4), one.K.expand(2, 3, 3, 3), 64, 64)
    pixels, depth = project(torch.zeros(2, 5, 3), cameras)
    assert pixels.shape == (2, 3, 5, 2) and depth.shape == (2, 3, 5)


def test_projection_has_the_right_gradient() -> None:
    camera = published_camera(64, dtype=torch.float64)
    points = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.1
    assert torch.autograd.gradcheck(lambda p: project(p, camera)[0], (points.requires_grad_(),))


def test_projection_follows_the_pinhole_formula_for_any_camera() -> None:
    """Turned and moved cameras with skewed, uneven intrinsics; points before, beside and behind them."""
    generator = torch.Generator().manual_seed(2)
    rotations = torch.linalg.qr(torch.randn(2, 3, 3, dtype=torch.float64, generator=generator))[0]
    world_to_cam = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    world_to_cam[:, :3, :3], world_to_cam[:, :3, 3] = rotations, torch.randn(2, 3, dtype=torch.float64, generator=generator)
    K = torch.tensor([[90.0, 3.0, 31.0], [1.0, 70.0, 22.0], [0.0, 0.0, 1.0]], dtype=torch.float64).repeat(2, 1, 1)
    points = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    pixels, depth = project(points, Cameras(world_to_cam, K, 48, 64))
    behind = 0
    for view in range(2):
        for number, point in enumerate(points.tolist()):
            x, y, z = (
                sum(float(world_to_cam[view, row, k]) * point[k] for k in range(3)) + float(world_to_cam[view, row, 3])
                for row in range(3)
            )
            behind += z < 0
            divisor = max(z, 1e-6)
            u, v = x / divisor, y / divisor
            expected = [90.0 * u + 3.0 * v + 31.0, 1.0 * u + 70.0 * v + 22.0]
            assert pixels[view, number].tolist() == pytest.approx(expected, rel=1e-9)
            assert float(depth[view, number]) == pytest.approx(z)
    assert 10 < behind < 70


def test_the_published_camera_is_opengls_seen_from_opencv() -> None:
    camera = published_camera(100, fov_deg=90.0, distance=2.0, dtype=torch.float64)
    assert camera.K.tolist() == [[[pytest.approx(50.0), 0, 50.0], [0, pytest.approx(50.0), 50.0], [0, 0, 1]]]
    assert camera.world_to_cam.tolist() == [[[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.0], [0, 0, 0, 1]]]
    assert (camera.height, camera.width) == (100, 100)
    default = published_camera(224)
    assert float(default.world_to_cam[0, 2, 3]) == 1.0 and default.K.dtype == torch.float32
    assert 2 * math.degrees(math.atan(112 / float(default.K[0, 1, 1]))) == pytest.approx(14.2539, abs=1e-4)
