"""The illumination prior: which spherical-harmonics lighting is likely. A file, so that another prior can replace ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from sheap.files import write_bytes
from sheap.networks.illumination_environments import sample_environments
from sheap.render.shading import sh_basis, sh_irradiance

SHIPPED_PRIOR = Path(__file__).with_name("illumination_prior.safetensors")


@dataclass(frozen=True)
class IlluminationPca:
    """Mean [9, 3] and components [K, 9, 3] of radiance coefficients; components are scaled by their standard
    deviations, so that weights have unit variance."""

    mean: Tensor
    components: Tensor


def fit_illumination_prior(num_environments: int, seed: int) -> IlluminationPca:
    """Principal components, all 27, of sampled environments' 2nd-order harmonics."""
    rng = np.random.default_rng(seed)
    coefficients = []
    for start in range(0, num_environments, 500):
        directions, radiance = sample_environments(min(500, num_environments - start), rng)
        basis = sh_basis(torch.from_numpy(directions)).numpy()
        coefficients.append(np.einsum("nds,dk->nks", radiance, basis) * (4 * np.pi / len(directions)))
    stacked = np.concatenate(coefficients)
    mean = stacked.mean(0)
    _, singular, directions_27 = np.linalg.svd((stacked - mean).reshape(len(stacked), 27), full_matrices=False)
    scaled = directions_27 * (singular / np.sqrt(len(stacked) - 1))[:, None]
    # A component's sign is arbitrary; this makes a refit reproduce the file.
    signs = np.sign(scaled[np.arange(27), np.abs(scaled).argmax(1)])
    return IlluminationPca(
        torch.from_numpy(mean).float(), torch.from_numpy((scaled * signs[:, None]).reshape(27, 9, 3)).float()
    )


def save_illumination_prior(prior: IlluminationPca, path: Path, provenance: dict[str, str]) -> None:
    """Writes the file that `IlluminationPrior` reads."""
    write_bytes(path, save({"mean": prior.mean, "components": prior.components.contiguous()}, provenance))


class IlluminationPrior(nn.Module):
    """Weights l [B, K] (unit variance, zero is the mean lighting) to radiance coefficients [B, 9, 3].

    path: a .safetensors with `mean` [9, 3] and `components` [>= K, 9, 3]; None is the shipped prior.
    Raises ValueError naming the file when it holds something else.
    """

    def __init__(self, num_components: int, path: Path | None = None) -> None:
        super().__init__()
        path = path or SHIPPED_PRIOR
        try:
            tensors = load_file(path)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path}: not readable as safetensors ({error})") from None
        mean, components = tensors.get("mean"), tensors.get("components")
        if mean is None or components is None or mean.shape != (9, 3) or components.shape[1:] != (9, 3):
            raise ValueError(f"{path}: expected tensors mean [9, 3] and components [K, 9, 3]")
        if len(components) < num_components:
            raise ValueError(f"{path}: has {len(components)} components, lighting_components asks for {num_components}")
        # Persistent: a trained network keeps the prior it was trained with.
        self.register_buffer("mean", mean.float())
        self.register_buffer("components", components[:num_components].float().contiguous())

    def forward(self, weights: Tensor) -> Tensor:
        return self.mean + torch.einsum("bk,ksc->bsc", weights.float(), self.components)


def shade(albedos: Tensor, normals: Tensor, coefficients: Tensor) -> Tensor:
    """Radiance [B, G, 3] a diffuse surface sends to the eye: albedo x irradiance / pi.

    albedos and unit normals [B, G, 3], coefficients [B, 9, 3]. The truncated series can dip below zero opposite a lamp;
    light cannot, so it is clamped there.
    """
    return albedos * (sh_irradiance(normals, coefficients[:, None]) / torch.pi).clamp_min(0.0)
