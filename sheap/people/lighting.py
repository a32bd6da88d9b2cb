"""Light around a person: a sky-to-ground gradient and a few soft lamps, as 2nd-order spherical harmonics and as
directions.

Coefficients are those of `sheap.render.shading` (order and convention there); world axes, y up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.render.shading import sh_basis


@dataclass(frozen=True)
class Lighting:
    """lamps: directions [L, 3] (unit, towards the lamp), colors [L, 3] (peak radiance, linear), sharpness [L] (of the
    lobe exp(k (cos - 1))). sky, side, ground [3]: radiance from above, level and below."""

    directions: NDArray[np.float32]
    colors: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    sky: NDArray[np.float32]
    side: NDArray[np.float32]
    ground: NDArray[np.float32]

    def radiance(self, directions: NDArray) -> NDArray[np.float32]:
        """Light that comes from world directions [D, 3]: [D, 3], linear."""
        up = directions[:, 1:2]
        gradient = (
            self.side + np.maximum(up, 0) * (self.sky - self.side) + np.maximum(-up, 0) * (self.ground - self.side)
        )
        lobes = np.exp(self.sharpness * (directions @ self.directions.T - 1))
        return (gradient + lobes @ self.colors).astype(np.float32)

    def sh_coefficients(self) -> NDArray[np.float32]:
        """[9, 3] coefficients of the radiance."""
        directions, basis = _measured_directions()
        return (basis.T @ self.radiance(directions) * (4 * np.pi / len(directions))).astype(np.float32)

    def open_irradiance(self, normals: NDArray) -> NDArray[np.float32]:
        """Light over pi on unblocked surfaces with normals [N, 3]: [N, 3]; albedo 1 under radiance 1 looks 1."""
        ones = np.concatenate([normals, np.ones((len(normals), 1), np.float32)], 1)
        matrices = irradiance_matrices(self.sh_coefficients()) / np.float32(np.pi)
        return np.einsum("ni,cij,nj->nc", ones, matrices, ones)


def sphere_directions(count: int) -> NDArray[np.float32]:
    """`count` evenly spread unit directions [count, 3] (Fibonacci spiral)."""
    index = np.arange(count) + 0.5
    up = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - up**2)
    return np.stack([ring * np.cos(angle), up, ring * np.sin(angle)], -1).astype(np.float32)


@cache
def _measured_directions() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Directions [D, 3] dense enough for the sharpest lamp, and the basis there [D, 9]."""
    directions = sphere_directions(2048)
    return directions, sh_basis(torch.from_numpy(directions)).numpy()


def irradiance_matrices(coefficients: NDArray) -> NDArray[np.float32]:
    """[9, 3] coefficients to [3, 4, 4] matrices M with E_c(n) = (n, 1)^T M_c (n, 1) (Ramamoorthi and Hanrahan, eq.
    12)."""
    c1, c2, c3, c4, c5 = 0.429043, 0.511664, 0.743125, 0.886227, 0.247708
    matrices = np.zeros((3, 4, 4), np.float32)
    for channel in range(3):
        l00, l1m1, l10, l11, l2m2, l2m1, l20, l21, l22 = coefficients[:, channel]
        matrices[channel] = [
            [c1 * l22, c1 * l2m2, c1 * l21, c2 * l11],
            [c1 * l2m2, -c1 * l22, c1 * l2m1, c2 * l1m1],
            [c1 * l21, c1 * l2m1, c3 * l20, c2 * l10],
            [c2 * l11, c2 * l1m1, c2 * l10, c4 * l00 - c5 * l20],
        ]
    return matrices


def kelvin_color(kelvin: float) -> NDArray[np.float32]:
    """Linear RGB of a black body, green 1: a smooth fit that is close enough for lamps (2500 to 10000 K)."""
    warm = np.log(kelvin / 6500)
    return np.array([np.exp(-0.72 * warm), 1.0, np.exp(1.15 * warm - 0.35 * warm**2)], np.float32)


def _direction(azimuth_deg: float, elevation_deg: float) -> NDArray[np.float32]:
    """Azimuth 0 comes from the camera's side (+z), positive from the person's left (+x)."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32
    )


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """One of: overcast daylight, a window to the side, indoor lamps, sun with sky, a screen or ring light in front, one
    lamp in the dark, two lamps of different colours, a flash.

    Scaled so that a white surface facing the camera would get about 0.5 to 1.0 times full exposure.
    """
    kinds = ["overcast", "window", "indoor", "sun", "front", "lamp", "colours", "flash"]
    kind = rng.choice(kinds, p=[0.19, 0.24, 0.18, 0.13, 0.1, 0.07, 0.05, 0.04])
    directions, colors, sharpness = [], [], []

    def add(azimuth_deg: float, elevation_deg: float, strength: float, sharp: float, kelvin: float) -> None:
        directions.append(_direction(azimuth_deg, elevation_deg))
        colors.append(strength * kelvin_color(kelvin))
        sharpness.append(sharp)

    side = rng.choice([-1.0, 1.0])
    base_kelvin = rng.uniform(4200, 8000)
    base = kelvin_color(base_kelvin)
    if kind == "overcast":
        ambient = base * rng.uniform(0.45, 0.65)
        sky, ground = ambient * rng.uniform(1.3, 1.9), ambient * rng.uniform(0.3, 0.6)
        add(rng.uniform(-80, 80), rng.uniform(35, 75), rng.uniform(0.5, 1.2), 3, base_kelvin)
    elif kind == "window":
        ambient = base * rng.uniform(0.2, 0.4)
        sky, ground = ambient * rng.uniform(0.9, 1.3), ambient * rng.uniform(0.5, 0.8)
        add(
            side * rng.uniform(25, 85),
            rng.uniform(5, 40),
            rng.uniform(2.2, 4.0),
            rng.uniform(4, 9),
            rng.uniform(5500, 7500),
        )
        add(-side * rng.uniform(30, 110), rng.uniform(0, 40), rng.uniform(0.2, 0.9), 4, rng.uniform(3000, 5500))
    elif kind == "indoor":
        base = kelvin_color(rng.uniform(3000, 4800))
        ambient = base * rng.uniform(0.25, 0.45)
        sky, ground = ambient * rng.uniform(1.2, 1.7), ambient * rng.uniform(0.4, 0.7)
        for _ in range(rng.integers(1, 4)):
            add(
                rng.uniform(-110, 110),
                rng.uniform(25, 75),
                rng.uniform(1.0, 2.6),
                rng.uniform(6, 16),
                rng.uniform(2900, 5000),
            )
    elif kind == "sun":
        ambient = kelvin_color(rng.uniform(6500, 9000)) * rng.uniform(0.14, 0.4)
        sky, ground = ambient * rng.uniform(1.3, 1.8), kelvin_color(5200) * rng.uniform(0.15, 0.35)
        add(
            side * rng.uniform(10, 75),
            rng.uniform(25, 60),
            rng.uniform(10, 20),
            rng.uniform(28, 50),
            rng.uniform(4800, 5800),
        )
    elif kind == "lamp":
        ambient = base * rng.uniform(0.06, 0.16)
        sky, ground = ambient * rng.uniform(0.8, 1.5), ambient * rng.uniform(0.4, 1.0)
        add(
            side * rng.uniform(0, 100),
            rng.uniform(-10, 60),
            rng.uniform(4, 8),
            rng.uniform(12, 35),
            rng.uniform(2700, 5500),
        )
    elif kind == "colours":
        ambient = base * rng.uniform(0.08, 0.25)
        sky, ground = ambient * rng.uniform(0.8, 1.4), ambient * rng.uniform(0.4, 1.0)
        for one in (side, -side):
            add(one * rng.uniform(20, 110), rng.uniform(-10, 45), rng.uniform(1.5, 4.0), rng.uniform(5, 16), 6500)
            colors[-1] = colors[-1] * rng.dirichlet([1.5, 1.5, 1.5]) * 2
    elif kind == "flash":
        ambient = base * rng.uniform(0.08, 0.25)
        sky, ground = ambient * rng.uniform(0.9, 1.4), ambient * rng.uniform(0.5, 0.9)
        add(rng.uniform(-8, 8), rng.uniform(2, 18), rng.uniform(12, 20), rng.uniform(35, 60), rng.uniform(5200, 6000))
    else:
        ambient = base * rng.uniform(0.2, 0.4)
        sky, ground = ambient * rng.uniform(0.8, 1.2), ambient * rng.uniform(0.5, 0.9)
        add(
            rng.uniform(-25, 25),
            rng.uniform(-5, 25),
            rng.uniform(2.0, 3.5),
            rng.uniform(5, 12),
            rng.uniform(4500, 7500),
        )
    # A rim of light from behind, as rooms with more than one lamp have.
    if rng.random() < 0.35:
        add(
            -side * rng.uniform(110, 160),
            rng.uniform(10, 50),
            rng.uniform(0.8, 2.5),
            rng.uniform(5, 12),
            rng.uniform(3500, 7500),
        )
    lighting = Lighting(
        np.array(directions, np.float32), np.array(colors, np.float32), np.array(sharpness, np.float32),
        sky.astype(np.float32), ambient.astype(np.float32), ground.astype(np.float32),
    )  # fmt: skip
    # Exposure: cameras meter the face, so the brightest frontal directions end near the same level.
    front = np.stack([_direction(a, e) for a in (-40, 0, 40) for e in (0, 30)])
    toward = lighting.open_irradiance(front)
    levels = toward.mean(1)
    gain = rng.uniform(0.75, 1.1) / (0.6 * levels.max() + 0.4 * levels.mean())
    # Automatic white balance removes about two thirds of the light's colour.
    tone = toward.sum(0)
    balance = (tone.mean() / tone) ** rng.uniform(0.5, 0.9)
    scale = (gain * balance).astype(np.float32)
    return Lighting(
        lighting.directions, lighting.colors * scale, lighting.sharpness,
        lighting.sky * scale, lighting.side * scale, lighting.ground * scale,
    )  # fmt: skip
