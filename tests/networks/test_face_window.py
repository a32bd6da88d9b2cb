"""The second look's window: found exactly where landmarks are a rigid head's, upright whatever the roll."""

from __future__ import annotations

import math

import pytest
import torch

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel
from sheap.networks.face_window import FaceWindows, fit_windows

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def mean_points() -> torch.Tensor:
    head = HeadModel.load()
    return head.landmarks(head.template)


def _windows(count: int = 6) -> FaceWindows:
    generator = torch.Generator().manual_seed(3)
    rotation = FLIP @ rotvec_to_matrix(0.5 * torch.randn(count, 3, generator=generator))
    scale = 3 + torch.rand(count, generator=generator)
    return FaceWindows(rotation, scale, 0.5 + 0.1 * torch.randn(count, 3, generator=generator))


def test_a_rigid_heads_window_is_found_exactly(mean_points):
    wanted = _windows()
    places = wanted.place(mean_points, torch.zeros(6, len(mean_points), 2))
    found = fit_windows(places, mean_points)
    torch.testing.assert_close(found.rotation, wanted.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.scale, wanted.scale, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.origin, wanted.origin, atol=1e-5, rtol=0)


def test_points_are_placed_where_they_came_from(mean_points):
    """Deviations are along the upright face's axes: those of a rolled head come back as given."""
    windows = _windows()
    deviations = 0.01 * torch.randn(6, len(mean_points), 2, generator=torch.Generator().manual_seed(1))
    rest = windows.place(mean_points, torch.zeros_like(deviations))
    moved = windows.place(mean_points, deviations)
    _, axes = windows.frame()
    back = torch.linalg.solve(0.30 * axes, (moved - rest)[..., :2].mT).mT
    torch.testing.assert_close(back, deviations, atol=1e-6, rtol=0)
    assert torch.equal(moved[..., 2], rest[..., 2])


def test_places_inside_a_window_are_where_its_picture_shows_them(mean_points):
    """A ramp across the crop, cut by a rolled window: at a place inside it the ramp has the value of the place."""
    windows, side_m, side = _windows(3), 0.10, 100
    places = windows.place(mean_points, torch.zeros(3, len(mean_points), 2))[..., :2]
    inside = windows.inside(places, side_m)
    seen = (inside.abs() < 0.95).all(-1) & ((places - 0.5).abs() < 0.45).all(-1)
    assert int(seen.sum()) > 300
    across = ((torch.arange(side) + 0.5) / side).expand(3, 1, side, side)
    ramps = torch.cat([across, across.mT], 1)
    shown = windows.cut(torch.cat([ramps, ramps[:, :1]], 1), side, side_m)
    read = torch.nn.functional.grid_sample(shown, inside[:, :, None], align_corners=False)[:, :2, :, 0].mT
    torch.testing.assert_close(read[seen], places[seen], atol=2e-3, rtol=0)


@pytest.mark.parametrize("roll_deg", [0.0, 30.0, -80.0])
def test_what_the_window_shows_is_upright_and_in_the_middle(roll_deg):
    """A picture of a bright spot above the window's middle shows it above the middle, whatever the head's roll."""
    roll = math.radians(roll_deg)
    rotation = FLIP @ rotvec_to_matrix(torch.tensor([[0.0, 0.0, roll]]))
    windows = FaceWindows(rotation, torch.tensor([3.3]), torch.tensor([[0.5, 0.5, 0.0]]))
    centre, axes = windows.frame()
    spot = centre + (axes @ torch.tensor([[0.0], [-0.04]])).squeeze(-1)  # 4 cm above on the upright face
    side = 200
    grid = (torch.arange(side) + 0.5) / side
    picture = torch.exp(
        -((grid[None, :] - spot[0, 0]) ** 2 + (grid[:, None] - spot[0, 1]) ** 2) / (2 * 0.01**2)
    ).expand(1, 3, side, side)
    seen = windows.cut(picture, 96, 0.20)[0, 0]
    at = (torch.arange(96) + 0.5) / 96
    x, y = (seen.sum(0) * at).sum() / seen.sum(), (seen.sum(1) * at).sum() / seen.sum()
    assert abs(float(x) - 0.5) < 0.004
    assert abs(float(y) - (0.5 - 0.04 / 0.20)) < 0.004
