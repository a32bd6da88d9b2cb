"""Predictions in a crop that was turned upright, brought back to the picture."""

from __future__ import annotations

import math

import pytest
import torch

from sheap.geometry.cameras import project, published_camera
from sheap.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.turning import turned_back
from sheap.video.crops import CropBox, points_to_picture


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def some_heads(head: HeadModel, count: int) -> HeadParams:
    rng = torch.Generator().manual_seed(3)
    params = HeadParams.zeros(head, count)
    return params.replace(
        shape=torch.randn(params.shape.shape, generator=rng), root_rotvec=torch.randn(count, 3, generator=rng) * 0.3,
        neck_rotvec=torch.randn(count, 3, generator=rng) * 0.2, translation=torch.randn(count, 3, generator=rng) * 0.02,
    )  # fmt: skip


@pytest.mark.parametrize("turn", [40.0, 90.0, 180.0, 270.0, 333.0])
def test_a_turned_head_is_seen_where_the_picture_shows_it(head, turn):
    """Projected into the level square, it lies where the points of the turned crop lie in the picture."""
    params = some_heads(head, 2)
    back = turned_back(head, params, torch.tensor([turn, turn]))
    box = CropBox(310.0, 200.0, 150.0)
    camera = published_camera(1)
    upright, _ = project(head(params).vertices, camera)
    level, _ = project(head(back).vertices, camera)
    for one, other in zip(upright[:, 0].double().numpy(), level[:, 0].double().numpy(), strict=True):
        expected = points_to_picture(one, CropBox(*box, turn), 1)
        assert abs(points_to_picture(other, box, 1) - expected).max() < 1e-2
    for name in ("shape", "expression", "neck_rotvec", "jaw_rotvec"):
        assert torch.equal(getattr(back, name), getattr(params, name))


def test_heads_that_are_not_turned_keep_their_very_values(head):
    params = some_heads(head, 3)
    assert turned_back(head, params, torch.zeros(3)) is params
    mixed = turned_back(head, params, torch.tensor([0.0, 90.0, 0.0]))
    assert torch.equal(mixed.translation[[0, 2]], params.translation[[0, 2]])
    assert torch.equal(mixed.root_rotvec[[0, 2]], params.root_rotvec[[0, 2]])
    assert not torch.allclose(mixed.root_rotvec[1], params.root_rotvec[1], atol=0.1)


def test_matrices_become_the_vectors_that_made_them():
    vectors = [[0.0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.9], [0, 0, math.pi - 1e-3], [3.0, 0.2, 0.1]]
    rotvec = torch.tensor(vectors, dtype=torch.float64)
    assert torch.allclose(matrix_to_rotvec(rotvec_to_matrix(rotvec)), rotvec, atol=1e-6)
