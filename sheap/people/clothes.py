"""Shoulders and a garment, so that a head does not float: a loft below the head model's border and a shell over its
neck."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import linear_to_bytes, srgb_to_linear
from sheap.people.noise import image_noise, point_noise, smoothstep
from sheap.people.traits import Traits

Array = NDArray[np.float32]

_DROPS = np.array([0.0, 0.012, 0.035, 0.07, 0.12, 0.19, 0.28], np.float32)
"""How far (m) the loft's rings lie below the border."""
_PER_EDGE = 2


@dataclass(frozen=True)
class Torso:
    """A loft. places [N, 3]: on the mean person; offsets [N, 3]: from each vertex's border vertex (anchors [N]) at
    rest; faces [F, 3]; corner_uv [F, 3, 2]; grid: rings and columns of its texture."""

    anchors: NDArray[np.int64]
    offsets: Array
    faces: NDArray[np.int32]
    corner_uv: Array
    places: Array
    grid: tuple[int, int]


def border_loop(vertices: Array, faces: NDArray) -> NDArray[np.int64]:
    """The head's lower border as one closed loop of vertices, in order around the body."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = {(int(a), int(b)) for a, b in edges}
    follows = {a: b for a, b in keys if (b, a) not in keys}
    # Eyes, teeth and tongue have borders of their own: the neck's is the longest.
    loops = []
    while follows:
        first = min(follows)
        loop = [first]
        while (following := follows.pop(loop[-1], None)) is not None and following != first:
            loop.append(following)
        loops.append(loop)
    return np.array(max(loops, key=lambda loop: np.ptp(vertices[loop, 0])), np.int64)


def build_torso(template: Array, loop: NDArray[np.int64], shoulder_width: float) -> Torso:
    """Rings from the border loop down to the chest. shoulder_width: half of it, metres."""
    border = template[loop]
    centre = np.array([0, border[:, 1].mean(), border[:, 2].mean()], np.float32)
    around = np.arctan2(border[:, 0] - centre[0], border[:, 2] - centre[2])
    # A superellipse, wider than deep: shoulders and upper arms seen as one body.
    power = 0.7
    body = np.stack(
        [
            shoulder_width * np.sign(np.sin(around)) * np.abs(np.sin(around)) ** power,
            np.zeros_like(around),
            0.115 * np.sign(np.cos(around)) * np.abs(np.cos(around)) ** power - 0.01,
        ],
        -1,
    ) + np.array([0, 0, centre[2]], np.float32)
    rings = []
    for drop in _DROPS:
        blend = smoothstep(0.0, 0.13, np.float32(drop)) ** 0.8
        ring = border * (1 - blend) + body * blend
        ring[:, 1] = (border[:, 1] * (1 - blend) + (centre[1] - 0.01) * blend) - drop
        rings.append(ring)
    points = np.stack(rings).astype(np.float32)
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], right[:-1], right[1:], index[1:]], -1).reshape(-1, 4)
    # The loop runs along the skin's own winding, so the loft continues it with the edge reversed.
    faces = np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]]).astype(np.int32)
    column = np.arange(columns + 1) / columns
    row = np.arange(rows) / (rows - 1)
    uv = np.stack(np.broadcast_arrays(column[None], row[:, None]), -1)
    corners = np.stack([uv[:-1, :-1], uv[:-1, 1:], uv[1:, 1:], uv[1:, :-1]], 2).reshape(-1, 4, 2)
    corner_uv = np.concatenate([corners[:, [0, 2, 1]], corners[:, [0, 3, 2]]]).astype(np.float32)
    places = points.reshape(-1, 3)
    return Torso(np.tile(loop, rows), places - np.tile(border, (rows, 1)), faces, corner_uv, places, (rows, columns))


def torso_positions(torso: Torso, height: int, width: int) -> Array:
    """The loft's places on a texture grid [height, width, 3]."""
    rows, columns = torso.grid
    grid = torso.places.reshape(rows, columns, 3)
    grid = np.concatenate([grid, grid[:, :1]], 1)
    r = np.linspace(0, rows - 1, height)
    c = np.linspace(0, columns, width)
    r0, c0 = np.minimum(r.astype(int), rows - 2), np.minimum(c.astype(int), columns - 1)
    fr, fc = (r - r0)[:, None, None], (c - c0)[None, :, None]
    top = grid[r0][:, c0] * (1 - fc) + grid[r0][:, c0 + 1] * fc
    bottom = grid[r0 + 1][:, c0] * (1 - fc) + grid[r0 + 1][:, c0 + 1] * fc
    return (top * (1 - fr) + bottom * fr).astype(np.float32)


def below_neckline(points: Array, neckline: str) -> Array:
    """How far (m) points lie inside the garment (negative: bare neck)."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    # The neck leans forward: its base is higher behind (z = -0.1) than in front.
    front = np.clip((z + 0.09) / 0.09, 0, 1)
    base = -0.125 - 0.055 * front
    if neckline == "turtleneck":
        line = -0.105 - 0.04 * front
    elif neckline == "v":
        line = base - 0.075 * front * np.clip(1 - x / 0.06, 0, 1)
    elif neckline == "scoop":
        line = base - 0.016 * front - 0.008
    elif neckline == "shirt":
        line = base + 0.018 - 0.055 * front * np.clip(1 - x / 0.035, 0, 1)
    else:
        line = base - 0.006
    return (line - y).astype(np.float32)


def paint_cloth(points: Array, traits: Traits, seed: int, *, whole: bool) -> NDArray[np.uint8]:
    """Cloth at places [H, W, 3], uint8 sRGB [H, W, 4]; alpha ends it at the neckline. whole: cloth everywhere, no
    neckline."""
    out = np.zeros((*points.shape[:2], 4), np.uint8)
    window = (slice(None), slice(None)) if whole else _clothed(points, traits.neckline)
    if window is not None:
        out[window] = _weave(points[window], traits, seed, whole)
    return out


_COARSE = 4
"""Texels of a step in which smooth things are worked out."""


def _clothed(points: Array, neckline: str) -> tuple[slice, slice] | None:
    """The part of the picture that has cloth at all."""
    inside = below_neckline(points[::_COARSE, ::_COARSE], neckline) > -0.004
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    low = [max(_COARSE * (int(found[0]) - 1), 0) for found in (rows, columns)]
    return slice(low[0], _COARSE * (int(rows[-1]) + 2)), slice(low[1], _COARSE * (int(columns[-1]) + 2))


def _weave(points: Array, traits: Traits, seed: int, whole: bool) -> NDArray[np.uint8]:
    rng = np.random.default_rng([seed, 31])
    height, width = points.shape[:2]
    first = srgb_to_linear(np.array(traits.cloth_color))
    second = srgb_to_linear(np.array(traits.cloth_second))
    period = rng.uniform(0.012, 0.05)
    folds = point_noise(rng, points[::_COARSE, ::_COARSE] * np.array([1, 0.5, 1], np.float32), 0.05)
    folds = cv2.resize(folds, (width, height), interpolation=cv2.INTER_LINEAR)
    light = 1 + 0.10 * folds + 0.05 * image_noise(rng, height, width, 0.4 * max(height, width))
    has_bands = traits.cloth_pattern in ("stripes", "checks")
    around = np.arctan2(points[..., 0], points[..., 2] + 0.06) * 0.13 if traits.cloth_pattern in ("checks", "knit") else None
    if traits.cloth_pattern == "knit" and around is not None:
        light = light + 0.12 * np.sin(2 * np.pi * around / 0.006)
    color = np.broadcast_to(first, (height, width, 3))
    if has_bands:
        mix = smoothstep(0.1, 0.3, np.sin(2 * np.pi * points[..., 1] / period))
        if around is not None:
            mix = 0.5 * mix + 0.5 * smoothstep(0.1, 0.3, np.sin(2 * np.pi * around / period))
        color = first + mix[..., None] * (second - first)
    out = np.full((height, width, 4), 255, np.uint8)
    if not whole:
        # A hem along the neckline.
        inside = below_neckline(points, traits.neckline)
        light = light * (1 - 0.25 * np.exp(-0.5 * ((inside - 0.012) / 0.0015) ** 2))
        if traits.neckline == "shirt":
            light = light * (1 - 0.3 * np.exp(-0.5 * ((inside - 0.03) / 0.002) ** 2))
        out[..., 3] = (smoothstep(-0.0012, 0.0012, inside) * 255).astype(np.uint8)
    out[..., :3] = linear_to_bytes(color * np.clip(light, 0.3, 1.6)[..., None])
    return out
