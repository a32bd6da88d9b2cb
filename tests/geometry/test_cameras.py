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
