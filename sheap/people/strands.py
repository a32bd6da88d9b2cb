"""Hair as ribbons: strands grow from roots on the skin, fall over the head, and become strips of textured triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from sheap.people.noise import smoothstep

Array = NDArray[np.float32]

_STEPS = 28
_MAP_ROWS, _MAP_COLUMNS = 48, 96


@dataclass(frozen=True)
class Strands:
    """lines [S, P, 3] (m, on the mean head at rest), widths [S] (m at the widest), side [S, P, 3] (unit, across the
    ribbon), normals [S, P, 3] (unit, out of it)."""

    lines: Array
    widths: Array
    side: Array
    normals: Array


@dataclass(frozen=True)
class MeanHead:
    """The mean head as hair grows on it: template, normals [V, 3]; faces [F, 3]; regions: weights [V] by name; upper_lids:
    vertices along the upper lids' edges."""

    template: Array
    normals: Array
    faces: NDArray[np.int64]
    regions: dict[str, Array]
    upper_lids: NDArray[np.int64]


@dataclass(frozen=True)
class Roots:
    """Where strands start: corners [S, 3] (vertices of the face below), barycentrics [S, 3], positions and normals
    [S, 3] on the mean head."""

    corners: NDArray[np.int64]
    weights: Array
    positions: Array
    normals: Array

    def pick(self, index: NDArray) -> Roots:
        """The roots at an index array or mask, in its order."""
        return Roots(self.corners[index], self.weights[index], self.positions[index], self.normals[index])


def sample_roots(rng: np.random.Generator, count: int, face_density: Array, mean: MeanHead) -> Roots:
    """`count` random roots, in proportion to area on the mean head times face_density [F]."""
    template, faces = mean.template, mean.faces
    corners = template[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    chance = area * face_density
    ids = np.sort(rng.choice(len(faces), count, p=chance / chance.sum()))
    u, v = rng.random((2, count)).astype(np.float32)
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], -1).astype(np.float32)

    def at(values: Array) -> Array:
        return (values[faces[ids]] * weights[..., None]).sum(1).astype(np.float32)

    root_normals = at(mean.normals)
    root_normals /= np.linalg.norm(root_normals, axis=-1, keepdims=True)
    return Roots(faces[ids], weights, at(template), root_normals)


def head_radius_map(vertices: Array, faces: NDArray, centre: Array, rng: np.random.Generator) -> Array:
    """Largest distance of the surface from `centre` by direction: [rows (down from +y), columns (around, from +z)],
    m."""
    corners = vertices[faces]
    u, v = rng.random((2, 24, len(faces), 1)).astype(np.float32)
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    points = (corners[:, 0] * (1 - u - v) + corners[:, 1] * u + corners[:, 2] * v).reshape(-1, 3) - centre
    radius = np.linalg.norm(points, axis=-1)
    row = (np.arccos(np.clip(points[:, 1] / radius, -1, 1)) / np.pi * _MAP_ROWS).astype(int).clip(0, _MAP_ROWS - 1)
    column = ((np.arctan2(points[:, 0], points[:, 2]) / (2 * np.pi) % 1) * _MAP_COLUMNS).astype(int) % _MAP_COLUMNS
    grid = np.zeros((_MAP_ROWS, _MAP_COLUMNS), np.float32)
    np.maximum.at(grid, (row, column), radius)
    while (empty := grid == 0).any():
        padded = np.pad(np.pad(grid, ((1, 1), (0, 0)), mode="edge"), ((0, 0), (1, 1)), mode="wrap")
        near = np.max(
            [padded[1 + i : 1 + i + _MAP_ROWS, 1 + j : 1 + j + _MAP_COLUMNS] for i in (-1, 0, 1) for j in (-1, 0, 1)], 0
        )
        grid = np.where(empty, near, grid)
    return grid


def comb_towards(roots: Roots, knot: Array, layer: Array, centre: Array, radius_map: Array, points: int) -> Array:
    """Lines [S, points, 3] that lie on the head from each root to a knot of hair, along great circles about
    `centre`."""
    start, end = roots.positions - centre, np.broadcast_to(knot - centre, roots.positions.shape)
    start_radius = np.linalg.norm(start, axis=-1)
    first, last = start / start_radius[:, None], end / np.linalg.norm(end, axis=-1, keepdims=True)
    angle = np.arccos(np.clip((first * last).sum(-1), -0.999, 0.999))[:, None]
    t = np.linspace(0, 1, points, dtype=np.float32)[None]
    weights = np.stack([np.sin((1 - t) * angle), np.sin(t * angle)], -1) / np.sin(angle)[..., None]
    directions = weights[..., :1] * first[:, None] + weights[..., 1:] * last[:, None]
    row = np.arccos(np.clip(directions[..., 1], -1, 1)) / np.pi * len(radius_map) - 0.5
    column = np.arctan2(directions[..., 0], directions[..., 2]) / (2 * np.pi) % 1 * radius_map.shape[1] + 0.5
    around = np.pad(radius_map, ((0, 0), (1, 1)), mode="wrap")
    surface = map_coordinates(around, [row, column], order=1, mode="nearest")
    rise = smoothstep(0.0, 0.25, t)
    radius = np.where(t == 0, start_radius[:, None], np.maximum(surface, 0) + rise * layer[:, None] + 0.001)
    lines = centre + radius[..., None] * directions
    # The last stretch dives into the knot.
    dive = smoothstep(0.85, 1.0, t)[..., None]
    return (lines * (1 - dive) + dive * knot).astype(np.float32)


def grow(
    roots: Roots,
    directions: Array,
    lengths: Array,
    lift: Array,
    layer: Array,
    *,
    gravity: float,
    comb: Array,
    comb_strength: float,
    curl: float,
    curl_length: float,
    centre: Array,
    radius_map: Array,
    rng: np.random.Generator,
    points: int,
    widths: Array,
    roll: float,
    keep_off_face: bool,
    fringe_y: float,
) -> Strands:
    """Lets strands grow.

    directions [S, 3]: along the skin at the root; lift [S]: how much they start along the normal (0..1); layer [S]:
    how far (m) above the skin they lie; comb [S, 3]: a pull along the way; curl (m) and curl_length (m): waves.
    keep_off_face: strands are cut where they would hang over the face below fringe_y (m, on the mean head).
    """
    count = len(lengths)
    start = directions * (1 - lift)[:, None] + roots.normals * lift[:, None]
    start /= np.linalg.norm(start, axis=-1, keepdims=True)
    lines, used = _march(
        roots.positions, start.astype(np.float32), lengths.astype(np.float32), layer.astype(np.float32),
        comb.astype(np.float32), np.float32(comb_strength), np.float32(gravity), centre.astype(np.float32), radius_map,
        keep_off_face, np.float32(fringe_y),
    )  # fmt: skip
    # Resample to `points` along what was kept.
    at = np.linspace(0, 1, points, dtype=np.float32)[None] * np.maximum(used, 1)[:, None]
    low = np.minimum(at.astype(int), _STEPS - 1)
    part = (at - low)[..., None]
    rows = np.arange(count)[:, None]
    lines = lines[rows, low] * (1 - part) + lines[rows, low + 1] * part
    widths = np.where(used < 2, 0, widths)
    return as_strands(lines, widths, roll, curl, curl_length, centre, rng)


def as_strands(
    lines: Array, widths: Array, roll: float, curl: float, curl_length: float, centre: Array, rng: np.random.Generator
) -> Strands:
    """Gives lines [S, P, 3] curls and a ribbon's two directions. roll (radians): how unevenly ribbons lie."""
    count, points = lines.shape[:2]
    along = np.linspace(0, 1, points, dtype=np.float32)
    tangent = np.gradient(lines, axis=1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-9
    out = lines - centre
    out /= np.linalg.norm(out, axis=-1, keepdims=True) + 1e-9
    side = np.cross(tangent, out)
    side /= np.linalg.norm(side, axis=-1, keepdims=True) + 1e-6
    if curl > 0:
        length = np.linalg.norm(np.diff(lines, axis=1), axis=-1).sum(1, keepdims=True)
        phase = rng.uniform(0, 2 * np.pi, (count, 1)) + 2 * np.pi * along[None] * length / curl_length
        grow_in = np.minimum(1, along * 4)[None, :, None] * np.float32(curl)
        lines = lines + grow_in * (np.sin(phase)[..., None] * side + 0.6 * (1 + np.cos(phase))[..., None] * out)
    angle = rng.normal(0, roll, (count, 1, 1)).astype(np.float32)
    turned = np.cos(angle) * side + np.sin(angle) * out
    face_out = np.cross(turned, tangent)
    face_out *= np.sign((face_out * out).sum(-1, keepdims=True) + 1e-9)
    normals = 0.45 * face_out + 0.75 * out
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Strands(
        lines.astype(np.float32), widths.astype(np.float32), turned.astype(np.float32), normals.astype(np.float32)
    )


def ribbons(strands: Strands, columns: int, rng: np.random.Generator) -> tuple[Array, Array, NDArray[np.int32], Array]:
    """Strips of triangles: vertices and normals [S * P * 2, 3], faces [F, 3], corner_uv [F, 3, 2].

    The texture has `columns` different locks side by side; v runs from root (0) to tip (1).
    """
    count, points = strands.lines.shape[:2]
    taper = np.interp(np.linspace(0, 1, points), [0, 0.15, 0.7, 1], [0.7, 1, 0.85, 0.35]).astype(np.float32)
    half = 0.5 * strands.widths[:, None, None] * taper[None, :, None] * strands.side
    vertices = np.stack([strands.lines - half, strands.lines + half], 2).reshape(-1, 3)
    normals = np.stack([strands.normals + 0.35 * s * strands.side for s in (-1, 1)], 2).reshape(-1, 3)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    first = (np.arange(count)[:, None] * points + np.arange(points - 1)[None]).reshape(-1) * 2
    faces = np.concatenate(
        [np.stack([first, first + 1, first + 3], -1), np.stack([first, first + 3, first + 2], -1)]
    ).astype(np.int32)
    column = rng.integers(0, columns, count)
    u = np.stack([column, column + 1], -1) / columns
    u = np.broadcast_to(u[:, None], (count, points, 2))
    v = np.broadcast_to(np.linspace(0, 1, points)[None, :, None], (count, points, 2))
    uv = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    wide = np.repeat(strands.widths > 0, points - 1)
    keep = np.concatenate([wide, wide])
    return vertices.astype(np.float32), normals.astype(np.float32), faces[keep], uv[faces[keep]]


@numba.njit(cache=True, fastmath=True)
def _march(positions, start, lengths, layer, comb, comb_strength, gravity, centre, radius_map, keep_off_face, fringe_y):
    count = positions.shape[0]
    lines = np.empty((count, _STEPS + 1, 3), np.float32)
    used = np.empty(count, np.float32)
    rows, columns = radius_map.shape
    for s in range(count):
        step = lengths[s] / _STEPS
        px, py, pz = positions[s, 0], positions[s, 1], positions[s, 2]
        dx, dy, dz = start[s, 0], start[s, 1], start[s, 2]
        lines[s, 0, 0], lines[s, 0, 1], lines[s, 0, 2] = px, py, pz
        kept = np.float32(_STEPS)
        for k in range(_STEPS):
            # Stiff hair keeps its direction; weight and comb bend it over a few centimetres.
            dx += step * comb_strength * comb[s, 0]
            dy += step * (comb_strength * comb[s, 1] - gravity)
            dz += step * comb_strength * comb[s, 2]
            if keep_off_face and pz > -0.02 and py < 0.035:
                # Beside the face, hair is brushed behind the ears.
                dz -= step * 30.0
            length = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
            dx, dy, dz = dx * length, dy * length, dz * length
            nx, ny, nz = px + step * dx, py + step * dy, pz + step * dz
            ox, oy, oz = nx - centre[0], ny - centre[1], nz - centre[2]
            distance = np.sqrt(ox * ox + oy * oy + oz * oz) + 1e-9
            gr = np.arccos(min(max(oy / distance, -1.0), 1.0)) / np.pi * rows - 0.5
            gc = (np.arctan2(ox, oz) / (2 * np.pi)) % 1.0 * columns - 0.5
            r0 = int(np.floor(gr))
            c0 = int(np.floor(gc))
            fr, fc = gr - r0, gc - c0
            ra, rb = min(max(r0, 0), rows - 1), min(max(r0 + 1, 0), rows - 1)
            ca, cb = c0 % columns, (c0 + 1) % columns
            surface = (
                radius_map[ra, ca] * (1 - fr) * (1 - fc) + radius_map[ra, cb] * (1 - fr) * fc
                + radius_map[rb, ca] * fr * (1 - fc) + radius_map[rb, cb] * fr * fc
            )  # fmt: skip
            # Hair rises to its layer over three centimetres: faster, and it would stand on end.
            wanted = surface + layer[s] * min(1.0, (k + 1) * step / 0.03)
            if distance < wanted:
                scale = wanted / distance
                nx, ny, nz = centre[0] + ox * scale, centre[1] + oy * scale, centre[2] + oz * scale
                dx, dy, dz = nx - px, ny - py, nz - pz
                length = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
                dx, dy, dz = dx * length, dy * length, dz * length
            if keep_off_face and nz > 0.02 and ny < fringe_y:
                across = nx / 0.066
                down = (ny + 0.03) / 0.105
                if across * across + down * down < 1.0 and kept == _STEPS:
                    kept = np.float32(k)
            px, py, pz = nx, ny, nz
            lines[s, k + 1, 0], lines[s, k + 1, 1], lines[s, k + 1, 2] = px, py, pz
        used[s] = kept
    return lines, used


def lock_texture(rng: np.random.Generator, columns: int, fullness: float, curly: float) -> NDArray[np.uint8]:
    """Locks of hair side by side, uint8 [256, columns * 32, 4]: grey streaks (tinted by the renderer), alpha between
    hairs."""
    height, lock = 256, 32
    width = columns * lock
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None]
    cells = rng.standard_normal((2, width // 2 + 2)).astype(np.float32)
    wobble = curly * 3 * np.sin(2 * np.pi * (y * 5 + rng.uniform())) + 1.5 * np.sin(2 * np.pi * (y * 1.3 + x / width))
    sample = np.clip((x + wobble) / 2, 0, width // 2)
    low = sample.astype(int)
    part = sample - low
    streak = cells[:, low] * (1 - part) + cells[:, low + 1] * part
    inside = (x % lock + 0.5) / lock
    rim = np.minimum(inside, 1 - inside) * 2
    # Locks thin out at their sides and fray at their tips.
    density = fullness * np.clip(rim * 3, 0, 1) * np.clip((1.02 - y) * 3.5, 0, 1) * np.clip(y * 30 + 0.4, 0, 1)
    alpha = np.clip((streak[0] + 2.2 * density - 0.9) * 1.6 + 0.5, 0, 1) * (density > 0.02)
    shade = np.clip(0.62 + 0.16 * streak[1], 0.25, 0.95)
    out = np.zeros((height, width, 4), np.uint8)
    out[..., :3] = (shade[..., None] * 255).astype(np.uint8)
    out[..., 3] = (alpha * 255).astype(np.uint8)
    return out
