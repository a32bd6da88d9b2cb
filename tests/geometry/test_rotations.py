from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sheap.geometry.rotations import (
    matrix_to_quat_wxyz,
    nearest_rotation,
    quat_multiply_wxyz,
    quat_wxyz_to_matrix,
    rotvec_to_matrix,
)

# float64 rounding of a handful of products; measured maximum over 1,000 random rotations: 1.4e-15.
TOLERANCE = 1e-13

vectors = st.lists(st.floats(-6, 6), min_size=3, max_size=3)
quats = st.lists(st.floats(-3, 3), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3)


@given(vectors)
@settings(max_examples=100, deadline=None)
def test_rotvec_agrees_with_scipy(rotvec: list[float]) -> None:
    ours = rotvec_to_matrix(torch.tensor(rotvec, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(ours, Rotation.from_rotvec(rotvec).as_matrix(), atol=TOLERANCE * 100)


@pytest.mark.parametrize("size", [0.0, 1e-9, 9.9e-5, 1.01e-4, 1e-2])
def test_rotvec_is_accurate_on_both_sides_of_the_series(size: float) -> None:
    rotvec = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64) * size
    np.testing.assert_allclose(
        rotvec_to_matrix(rotvec).numpy(), Rotation.from_rotvec(rotvec.numpy()).as_matrix(), atol=1e-12
    )


def test_rotvec_has_the_right_gradient_at_zero() -> None:
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotvec_to_matrix, (zero,))


@given(quats)
@settings(max_examples=100, deadline=None)
def test_quaternions_of_any_length_give_rotations_and_come_back(quat: list[float]) -> None:
    q = torch.tensor(quat, dtype=torch.float64)
    matrix = quat_wxyz_to_matrix(q)
    np.testing.assert_allclose((matrix @ matrix.T).numpy(), np.eye(3), atol=TOLERANCE)
    assert torch.det(matrix).item() == pytest.approx(1, abs=TOLERANCE)
    back = quat_wxyz_to_matrix(matrix_to_quat_wxyz(matrix))
    np.testing.assert_allclose(back.numpy(), matrix.numpy(), atol=TOLERANCE)


def test_half_turns_come_back() -> None:
    for axis in torch.eye(3, dtype=torch.float64):
        matrix = rotvec_to_matrix(axis * torch.pi)
        np.testing.assert_allclose(quat_wxyz_to_matrix(matrix_to_quat_wxyz(matrix)).numpy(), matrix.numpy(), atol=1e-12)


def test_matrices_stay_on_the_device_and_in_the_type_of_their_vectors() -> None:
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert rotvec_to_matrix(torch.zeros(2, 3, dtype=dtype)).dtype == dtype
    assert rotvec_to_matrix(torch.zeros(2, 3, device="meta")).device.type == "meta"


def test_quaternions_have_a_real_part_that_is_not_negative() -> None:
    """Of q and -q, the same rotation, the one with w >= 0; the others keep their signs."""
    halves = [math.radians(degrees) / 2 for degrees in (10, 90, 170, 190, 350)]
    quat = torch.tensor([[math.cos(h), 0.6 * math.sin(h), 0, -0.8 * math.sin(h)] for h in halves], dtype=torch.float64)
    expected = torch.where(quat[:, :1] > 0, quat, -quat)
    torch.testing.assert_close(matrix_to_quat_wxyz(quat_wxyz_to_matrix(quat)), expected, atol=1e-12, rtol=0)


def test_zero_quaternion_is_the_identity() -> None:
    assert torch.equal(quat_wxyz_to_matrix(torch.zeros(2, 4)), torch.eye(3).expand(2, 3, 3))


@given(quats, quats)
@settings(max_examples=50, deadline=None)
def test_product_of_quaternions_is_product_of_matrices(left: list[float], right: list[float]) -> None:
    p, q = torch.tensor(left, dtype=torch.float64), torch.tensor(right, dtype=torch.float64)
    product = quat_wxyz_to_matrix(quat_multiply_wxyz(p, q))
    np.testing.assert_allclose(product.numpy(), (quat_wxyz_to_matrix(p) @ quat_wxyz_to_matrix(q)).numpy(), atol=TOLERANCE)


def test_nearest_rotation_is_that_of_a_singular_value_decomposition():
    matrices = torch.randn(500, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, singular, vt = torch.linalg.svd(matrices)
    signs = torch.ones_like(singular)
    signs[:, 2] = torch.det(u @ vt).sign()
    found = nearest_rotation(matrices)
    # Two best rotations lie close together where the middle and the signed last singular value nearly cancel.
    clear = singular[:, 1] + signs[:, 2] * singular[:, 2] > 0.02 * singular[:, 0]
    torch.testing.assert_close(found[clear], ((u * signs[:, None]) @ vt)[clear], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.det(found), torch.ones(500, dtype=torch.float64))


def test_nearest_rotation_of_a_scaled_rotation_is_itself():
    rotation = rotvec_to_matrix(torch.randn(50, 3, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(nearest_rotation(37.0 * rotation), rotation, atol=1e-6, rtol=0)
