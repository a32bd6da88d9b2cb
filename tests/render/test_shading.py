"""Irradiance from spherical harmonics against integrals over the sphere."""

from __future__ import annotations

import math

import pytest
import torch

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.render.shading import sh_basis, sh_irradiance


def directions_and_areas(rings: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Midpoints and solid angles of a grid on the sphere."""
    theta = (torch.arange(rings, dtype=torch.float64) + 0.5) * math.pi / rings
    phi = (torch.arange(2 * rings, dtype=torch.float64) + 0.5) * math.pi / rings
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    directions = torch.stack([t.sin() * p.cos(), t.sin() * p.sin(), t.cos()], -1).reshape(-1, 3)
    return directions, (t.sin() * (math.pi / rings) ** 2).reshape(-1)


def test_basis_is_orthonormal():
    directions, areas = directions_and_areas()
    basis = sh_basis(directions)
    gram = basis.T @ (basis * areas[:, None])
    assert torch.allclose(gram, torch.eye(9, dtype=torch.float64), atol=1e-4)


def test_matches_the_integral_of_the_clamped_cosine():
    """For light within the nine harmonics the formula is exact: E(n) = integral of L(w) max(0, n.w)."""
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    normals = torch.nn.functional.normalize(torch.randn(7, 3, generator=generator, dtype=torch.float64), dim=-1)
    directions, areas = directions_and_areas()
    light = sh_basis(directions) @ coefficients
    cosines = (normals @ directions.T).clamp_min(0)
    expected = (cosines * areas) @ light
    # The grid's own error, by halving it: 2e-5.
    assert torch.allclose(sh_irradiance(normals, coefficients), expected, atol=1e-4)


def test_uniform_light_gives_pi():
    coefficients = torch.zeros(9, 3)
    coefficients[0] = 2 * math.sqrt(math.pi)
    normals = torch.nn.functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert torch.allclose(sh_irradiance(normals, coefficients), torch.full((5, 3), math.pi), atol=1e-5)


def test_light_from_above_lights_what_faces_up():
    coefficients = torch.zeros(9, 3)
    coefficients[1] = 1.0  # the harmonic of y
    up, down = sh_irradiance(torch.tensor([[0.0, 1, 0], [0, -1, 0]]), coefficients)
    assert (up > 0).all() and torch.allclose(up, -down)


def test_turning_light_and_surface_together_changes_nothing():
    """Coefficients of turned light, by projection, seen at turned normals."""
    generator = torch.Generator().manual_seed(2)
    turn = rotvec_to_matrix(torch.randn(3, generator=generator, dtype=torch.float64))
    coefficients = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    directions, areas = directions_and_areas()
    turned_light = sh_basis(directions @ turn) @ coefficients
    turned = sh_basis(directions).T @ (turned_light * areas[:, None])
    normals = torch.nn.functional.normalize(torch.randn(6, 3, generator=generator, dtype=torch.float64), dim=-1)
    assert torch.allclose(sh_irradiance(normals @ turn.T, turned), sh_irradiance(normals, coefficients), atol=1e-3)


def test_leading_dims_broadcast_and_half_precision_is_computed_in_float32():
    normals = torch.nn.functional.normalize(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3)), dim=-1)
    coefficients = torch.randn(2, 1, 9, 3, generator=torch.Generator().manual_seed(4))
    together = sh_irradiance(normals, coefficients)
    assert together.shape == (2, 5, 3)
    assert torch.allclose(together[1], sh_irradiance(normals[1], coefficients[1, 0]), atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sh_irradiance(normals, coefficients), together)
    half = sh_irradiance(normals.to(torch.bfloat16), coefficients.to(torch.bfloat16))
    assert half.dtype == torch.float32


def test_gradients():
    generator = torch.Generator().manual_seed(5)
    normals = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    coefficients = torch.randn(9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sh_irradiance, (normals, coefficients))


def test_user_mistakes_name_the_field():
    with pytest.raises(ValueError, match="normals"):
        sh_irradiance(torch.zeros(4, 2), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="coefficients"):
        sh_irradiance(torch.zeros(4, 3), torch.zeros(3, 9))
