"""Plausible lighting, sampled: what the open illumination prior is fitted on.

An environment is light over the sphere of directions, in the fixed camera's world (y up, z from the face to the camera):
a ceiling or sky that fades into a floor that reflects it, and one to three lamps, windows or suns of a random size,
colour temperature and strength, mostly above and in front, as photographers put them and as people stand. Exposure
follows the light on the face, as a camera's does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Directions = NDArray[np.float64]

NUM_DIRECTIONS = 1024


def sample_environments(count: int, rng: np.random.Generator) -> tuple[_Directions, NDArray[np.float64]]:
    """`count` environments: unit directions [D, 3] and radiance [count, D, 3] (RGB), D evenly spread directions.

    The scale is such that a white face looking at the camera sends about 1 to it.
    """
    directions = fibonacci_sphere(NUM_DIRECTIONS)
    radiance = _surroundings(directions, count, rng)
    for lamp in range(3):
        present = np.ones(count) if lamp == 0 else rng.random(count) < (0.5, 0.3)[lamp - 1]
        radiance += _lamp(directions, count, rng) * present[:, None, None]
    facing = np.clip(directions[:, 2], 0, None)
    # A face turns, and a camera meters on all of it: half the frontal light, half the mean over all directions.
    frontal = (radiance * facing[:, None]).mean(1) * 4
    metered = (0.5 * frontal + 0.5 * radiance.mean(1)).mean(-1)
    exposure = rng.normal(0, 0.2, count)
    return directions, radiance * (np.exp(exposure) / metered)[:, None, None]


def fibonacci_sphere(count: int) -> _Directions:
    """Nearly evenly spread unit vectors [count, 3]."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1)


def _surroundings(directions: _Directions, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ceiling or sky above, floor below: floor = reflectance x ceiling, with a soft horizon."""
    ceiling = _colour_of_light(rng.uniform(3500, 9000, count)) * rng.lognormal(0, 0.3, count)[:, None]
    reflectance = rng.uniform(0.05, 0.6, (count, 1)) * (1 + rng.normal(0, 0.1, (count, 3)))
    softness = rng.uniform(0.2, 1.0, count)
    upward = 0.5 * (1 + np.tanh(directions[None, :, 1] / softness[:, None]))
    floor = ceiling * reflectance
    return ceiling[:, None] * upward[..., None] + floor[:, None] * (1 - upward)[..., None]


def _lamp(directions: _Directions, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A soft-edged round light. Strength is the light it gives relative to the surroundings."""
    azimuth = rng.normal(0, 0.9, count)
    elevation = np.clip(rng.normal(0.6, 0.4, count), -0.3, 1.5)
    axis = np.stack([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], -1)
    sharpness = np.exp(rng.uniform(np.log(3), np.log(60), count))
    lobe = np.exp(sharpness[:, None] * (axis @ directions.T - 1))
    lobe /= lobe.mean(1, keepdims=True)
    strength = rng.lognormal(-0.7, 0.8, count)
    return lobe[..., None] * (_colour_of_light(rng.uniform(2700, 7500, count)) * strength[:, None])[:, None]


def _colour_of_light(kelvin: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB [count, 3] of a black body as a camera balanced for 5200 K sees it, of mean 1 and half as strong a tint.

    Planck's law at the primaries' dominant wavelengths; the halved tint is white balance adapting to the scene.
    """
    wavelengths = np.array([611e-9, 549e-9, 465e-9])

    def planck(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / np.expm1(1.438777e-2 / (wavelengths * t[:, None]))

    relative = np.sqrt(planck(kelvin) / planck(np.array([5200.0])))
    return relative / relative.mean(-1, keepdims=True)
