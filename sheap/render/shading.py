"""Light on a diffuse surface from 2nd-order spherical harmonics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LAMBERT_FACTORS = (math.pi, 2 * math.pi / 3, math.pi / 4)
"""How the clamped cosine weighs the bands 0, 1 and 2 (Ramamoorthi and Hanrahan 2001, equation 8)."""

_Y0 = 0.5 * math.sqrt(1 / math.pi)
_Y1 = 0.5 * math.sqrt(3 / math.pi)
_Y2 = 0.5 * math.sqrt(15 / math.pi)
_Y20 = 0.25 * math.sqrt(5 / math.pi)
_Y22 = 0.25 * math.sqrt(15 / math.pi)


def sh_basis(directions: Tensor) -> Tensor:
    """The nine real, orthonormal harmonics of bands 0 to 2 at unit directions [..., 3]: [..., 9].

    Order: (0,0), (1,-1), (1,0), (1,1), (2,-2), (2,-1), (2,0), (2,1), (2,2); that is 1, y, z, x, xy, yz, 3z^2-1, xz,
    x^2-y^2 (no Condon-Shortley phase).
    """
    x, y, z = directions.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, _Y0),
            _Y1 * y,
            _Y1 * z,
            _Y1 * x,
            _Y2 * x * y,
            _Y2 * y * z,
            _Y20 * (3 * z * z - 1),
            _Y2 * x * z,
            _Y22 * (x * x - y * y),
        ],
        -1,
    )


def sh_irradiance(normals: Tensor, coefficients: Tensor) -> Tensor:
    """Irradiance [..., 3] at unit normals [..., 3] under light with radiance coefficients [..., 9, 3] (RGB).

    E(n) = sum_l A_l sum_m L_lm Y_lm(n) with A = (pi, 2 pi/3, pi/4) (Ramamoorthi and Hanrahan, "An efficient
    representation for irradiance environment maps", 2001). A white diffuse surface sends E / pi to the eye. Uniform
    light of radiance 1 is L_00 = 2 sqrt(pi), and gives E = pi. The leading dims broadcast: normals [B, G, 3] of scenes
    with one light each take coefficients [B, 1, 9, 3]. The truncated series can be slightly negative opposite a small
    light; it is not clamped here. Half precision is computed in float32.
    """
    if normals.shape[-1] != 3:
        raise ValueError(f"normals: expected [..., 3], got {tuple(normals.shape)}")
    if coefficients.shape[-2:] != (9, 3):
        raise ValueError(f"coefficients: expected [..., 9, 3], got {tuple(coefficients.shape)}")
    a0, a1, a2 = LAMBERT_FACTORS
    dtype = torch.promote_types(torch.promote_types(normals.dtype, coefficients.dtype), torch.float32)
    factors = torch.tensor([a0, a1, a1, a1, a2, a2, a2, a2, a2], dtype=dtype, device=coefficients.device)
    with torch.autocast(normals.device.type, enabled=False):
        weighted = coefficients.to(dtype) * factors[:, None]
        return torch.einsum("...k,...kc->...c", sh_basis(normals.to(dtype)), weighted)
