"""Eyeballs: iris, pupil and sclera as a picture around the line of sight, and where on it each eyeball vertex looks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import bytes_to_linear, linear_to_srgb, srgb_to_linear
from sheap.people.noise import image_noise, smoothstep
from sheap.people.traits import Traits

Array = NDArray[np.float32]

TEXTURE_SIZE = 128
_EDGE_DEG = 85.0
"""Angle from the line of sight at the rim of the picture; the rest of the ball lies inside the head."""


def eyeball_uv(vertices: Array, centre: Array, axis: Array) -> Array:
    """Picture coordinates [N, 2] of eyeball vertices [N, 3] at rest: angle from the line of sight (`axis`, unit), and
    around it as seen from the front."""
    local = vertices - centre
    local = local / np.linalg.norm(local, axis=-1, keepdims=True)
    right = np.cross(np.array([0.0, 1.0, 0.0]), axis)
    right /= np.linalg.norm(right)
    x, y = local @ right, local @ np.cross(axis, right)
    angle = np.degrees(np.arccos(np.clip(local @ axis, -1, 1)))
    radius = 0.5 * np.minimum(angle / _EDGE_DEG, 0.999)
    around = np.arctan2(y, x)
    return np.stack([0.5 + radius * np.cos(around), 0.5 - radius * np.sin(around)], -1).astype(np.float32)


def paint_eye(
    traits: Traits, seed: int, ball_radius: float, iris_picture: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """An eye's texture, uint8 sRGB [S, S, 4]. ball_radius (m) turns the iris' radius into an angle; iris_picture: a
    square photograph of an iris, rim to rim, in place of the painted one."""
    rng = np.random.default_rng([seed, 77])
    size = TEXTURE_SIZE
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = (x + 0.5) / size - 0.5, 0.5 - (y + 0.5) / size
    angle = np.hypot(dx, dy) / 0.5 * _EDGE_DEG
    around = np.arctan2(dy, dx)
    iris_deg = np.degrees(np.arcsin(traits.iris_radius / ball_radius))
    share = angle / iris_deg

    # Duller with age and with pigment: an eye as white as paper stares.
    white = srgb_to_linear(np.array([0.79, 0.75, 0.725], np.float32))
    sclera = white * (1 - 0.15 * traits.age) * (1 - 0.2 * traits.melanin)
    picture = np.broadcast_to(sclera, (size, size, 3)).copy()
    veins = np.clip(image_noise(rng, size, size, 14, octaves=3) - 0.6, 0, 1) * smoothstep(1.2, 3.2, share)
    picture *= 1 - (veins * 0.4)[..., None] * np.array([0.1, 0.8, 0.8], np.float32)
    picture *= 1 - (0.25 * smoothstep(1.5, 3.5, share))[..., None] * np.array([0.3, 1, 1], np.float32)

    base = srgb_to_linear(np.array(traits.iris_color))
    fibres = np.zeros_like(share)
    for count in (23, 47, 91):
        phase = image_noise(rng, size, size, 8) * 1.2 + rng.uniform(0, 2 * np.pi)
        fibres += np.cos(count * around + phase) / 3
    iris = base * (1 + 0.35 * fibres[..., None])
    iris = iris * (1 + 0.5 * smoothstep(0.9, traits.pupil, share))[..., None]
    # A warmer ring around the pupil and the dark limbal ring.
    warm = base * np.array([1.5, 1.05, 0.6], np.float32)
    iris += (0.6 * smoothstep(0.75, traits.pupil, share))[..., None] * (warm - iris)
    iris *= (1 - 0.75 * traits.iris_ring * smoothstep(0.78, 1.0, share))[..., None]
    if iris_picture is not None:
        side = iris_picture.shape[0]
        where_x = ((0.5 + 0.5 * share * np.cos(around)) * side - 0.5).astype(np.float32)
        where_y = ((0.5 - 0.5 * share * np.sin(around)) * side - 0.5).astype(np.float32)
        iris = cv2.remap(
            bytes_to_linear(iris_picture), where_x, where_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    inside = smoothstep(1.06, 0.95, share)
    picture += inside[..., None] * (iris - picture)
    picture *= (1 - 0.985 * smoothstep(traits.pupil + 0.04, traits.pupil - 0.04, share))[..., None]
    # The upper lid and its lashes shade the top of the ball; corners are shaded too.
    picture *= (1 - 0.5 * smoothstep(1.0, 20.0, dy / 0.5 * _EDGE_DEG))[..., None]
    picture *= (1 - 0.35 * smoothstep(20.0, 50.0, np.abs(dx) / 0.5 * _EDGE_DEG))[..., None]
    out = np.full((size, size, 4), 255, np.uint8)
    out[..., :3] = (np.clip(linear_to_srgb(picture), 0, 1) * 255 + 0.5).astype(np.uint8)
    return out
