"""Landmarks that the detector puts elsewhere than the head model does."""

from __future__ import annotations

import torch

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.networks.landmark_calibration import NUM_TURN_TERMS, OFFSET_UNIT, LandmarkCalibration

VERTICES = torch.tensor([[0.0, 0, 0], [0.02, 0, 0], [0, 0.02, 0]])[None]
FACES = torch.tensor([[0, 1, 2]])
POINTS = VERTICES.mean(1, keepdim=True)
STILL = torch.zeros(1, 3)


def test_untrained_it_changes_nothing() -> None:
    turned = torch.tensor([[0.3, -0.4, 0.1]])
    assert torch.equal(LandmarkCalibration(1)(POINTS, VERTICES, FACES, turned), POINTS)


def test_offsets_lie_in_the_axes_of_the_face_and_turn_with_it() -> None:
    calibration = LandmarkCalibration(1)
    with torch.no_grad():
        calibration.offsets[0] = torch.tensor([1.0, 2.0, -0.5])
    moved = calibration(POINTS, VERTICES, FACES, STILL)
    torch.testing.assert_close(moved - POINTS, OFFSET_UNIT * torch.tensor([[[1.0, 2.0, -0.5]]]))
    rotation = rotvec_to_matrix(torch.tensor([0.2, 1.0, -0.4]))
    turned = calibration(POINTS @ rotation.T, VERTICES @ rotation.T, FACES, STILL)
    torch.testing.assert_close(turned, moved @ rotation.T, atol=1e-6, rtol=1e-5)


def test_terms_of_a_turn() -> None:
    calibration = LandmarkCalibration(1)
    turn = torch.tensor([[0.5, -0.2, 0.1]])
    x, y, z = turn[0].tolist()
    expected = [x, y, z, x * x, y * y, z * z, x * y, y * z, z * x]
    assert len(expected) == NUM_TURN_TERMS
    for term, value in enumerate(expected):
        with torch.no_grad():
            calibration.by_turn.zero_()
            calibration.by_turn[0, 0, term] = 1.0
        moved = calibration(POINTS, VERTICES, FACES, turn) - POINTS
        torch.testing.assert_close(moved[0, 0], torch.tensor([value * OFFSET_UNIT, 0.0, 0.0]), atol=1e-8, rtol=1e-5)


def test_a_habit_common_to_all_is_learnt_and_not_read_as_shape() -> None:
    """Two people of different width, one detector that sees every point 3 mm too low."""
    generator = torch.Generator().manual_seed(0)
    faces = torch.arange(30).view(10, 3)
    mean = torch.randn(30, 3, generator=generator) * 0.05
    widths = torch.tensor([1.0, -1.0])
    people = mean + widths[:, None, None] * torch.tensor([0.004, 0.0, 0.0]) * mean.sign()
    detected = people.view(2, 10, 3, 3).mean(2) - torch.tensor([0.0, 0.003, 0.0])
    calibration, guess = LandmarkCalibration(10), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([*calibration.parameters(), guess], lr=0.02)
    for _ in range(400):
        vertices = mean + guess[:, None, None] * torch.tensor([0.004, 0.0, 0.0]) * mean.sign()
        points = vertices.view(2, 10, 3, 3).mean(2)
        error = calibration(points, vertices, faces, torch.zeros(2, 3)) - detected
        loss = 100 * error.abs().mean() + 0.002 * guess.square().mean() + 1e-4 * calibration.size()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (guess.detach() - widths).abs().max() < 0.15
    assert error.abs().mean() < 3e-4
