"""A camera in front of a person: size of the picture, focal length, distance, where the head is in the frame, and its
shake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.people.noise import smooth_curve

Array = NDArray[np.float32]
Floats = NDArray[np.floating]

HEAD_HEIGHT = 0.27
"""Metres from chin to hair top that a framing counts with."""
_HEAD_MIDDLE = np.array([0.0, 0.0, 0.03], np.float32)


@dataclass(frozen=True)
class Shot:
    """K [3, 3] in pixels of height x width; world_to_cam [T, 4, 4]; shake_px [T, 2]: how far the background moves."""

    K: Array
    world_to_cam: Array
    height: int
    width: int
    shake_px: Array


def look_at(eye: Floats, target: Floats, roll: float) -> Array:
    """world_to_cam [4, 4] of a camera at `eye` that looks at `target` (world y up), rolled by radians."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, np.array([0, 1.0, 0]))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = np.stack([right, down, forward])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def sample_shot(
    rng: np.random.Generator,
    times_s: Array,
    sizes: list[tuple[int, int]],
    *,
    distance: tuple[float, float],
    fill: tuple[float, float],
    elevation_deg: float,
    shake: float,
    off_centre: float,
) -> Shot:
    """A camera for frames at times_s [T].

    sizes: (height, width) to choose from. distance: metres; fill: the head's share of the frame's height.
    elevation_deg: spread of looking from above or below. shake: metres of hand movement; off_centre: the head's
    distance from the middle of the frame, in shares of its height.
    """
    height, width = sizes[rng.integers(len(sizes))]
    metres = float(np.exp(rng.uniform(np.log(distance[0]), np.log(distance[1]))))
    share = rng.uniform(*fill)
    focal = share * height * metres / HEAD_HEIGHT
    elevation = np.radians(rng.normal(0, elevation_deg))
    middle = _HEAD_MIDDLE
    eye = middle + metres * np.array([0, np.sin(elevation), np.cos(elevation)], np.float32)
    room_x = max(0.0, width / height - share * 0.85) / 2
    room_y = max(0.0, 1 - share) / 2
    shift = np.clip(rng.normal(0, off_centre, 2), (-room_x, -room_y), (room_x, room_y)) * height
    K = np.array([[focal, 0, width / 2 + shift[0]], [0, focal, height / 2 + shift[1]], [0, 0, 1]], np.float32)
    roll = np.radians(rng.normal(0, 2.0))
    hand = (
        np.stack([shake * smooth_curve(rng, times_s, 1.5) for _ in range(3)], -1)
        if shake > 0
        else np.zeros((len(times_s), 3))
    )
    sway = (
        np.stack([0.5 * shake * smooth_curve(rng, times_s, 1.2) for _ in range(2)], -1)
        if shake > 0
        else np.zeros((len(times_s), 2))
    )
    target = np.concatenate([middle[:2] + sway, np.full((len(times_s), 1), middle[2])], -1)
    matrices = np.stack([look_at(eye + h, t, roll) for h, t in zip(hand, target)])
    # The background is far: it moves with the camera's turning only.
    turning = (sway - hand[:, :2]) / metres
    return Shot(K, matrices, height, width, (focal * turning * np.array([-1, 1])).astype(np.float32))
