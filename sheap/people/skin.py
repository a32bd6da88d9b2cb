"""Paints skin: a person's mixture of skins with lips, brows, lines, moles, stubble, hair roots and make-up, as sRGB textures of
the UV patches."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from sheap.people import face_places as places
from sheap.people.beards import WIDEST, BeardForm, BeardGround
from sheap.people.colours import linear_to_srgb, srgb_to_linear
from sheap.people.noise import image_noise, smoothstep
from sheap.people.skin_ground import BLOOD, MELANIN, SkinCoat
from sheap.people.skin_ground import skin_tone as skin_tone
from sheap.people.skin_model import BROW_BOX, BROW_TEXEL, DETAIL_RANGE, SkinModel
from sheap.people.traits import Traits
from sheap.people.uv_atlas import UvPatch, texel_corners

Array = NDArray[np.float32]
Window = tuple[slice, slice]

_NOISE_SIZE = 1024
_LOG_FROM, _LOG_TO, _LEVELS = -6.5, 0.5, 4096
_TABLE = np.round(
    255 * np.clip(linear_to_srgb(np.exp(np.linspace(_LOG_FROM, _LOG_TO, _LEVELS, dtype=np.float32))), 0, 1)
).astype(np.uint8)
_DETAIL_TINT = np.array([0.85, 1.05, 1.15], np.float32)
"""What detail does to red, green and blue: a pore or crease is a little warmer than the skin around it."""
_NOISE = image_noise(np.random.default_rng(5), _NOISE_SIZE, _NOISE_SIZE, 0.45 * _NOISE_SIZE)
_LEVELLED = 0.6
"""How much of its own slope is taken from a brow: the model's are drawn sternly."""
_LOWEST_BEARD = 0.002


@dataclass(frozen=True)
class EyeOpenings:
    """Distances (m) of a patch's texels [H, W] to the edges of the upper and the lower lids of the mean head."""

    upper: Array
    lower: Array


@dataclass(frozen=True)
class Canvas:
    """A patch with what every person's skin has in the same place. corners, weights [H, W, 3]: the mesh's vertices around each
    texel and their shares; details: bytes [2 K, H, W] or None; hairlines [4, H, W]: heights (m) above the hairline as grown and
    as receded, and sheap.people.face_places.hairline_form; beard: of the window where beards grow; openings: the lids' edges,
    where the patch has eyes; windows: the parts of the picture where each thing can be; brows and brow_measures [B, 5]: the
    model's, with their middles (x, y) and thickness, m, slope, radians, and inner ends, m."""

    patch: UvPatch
    corners: NDArray[np.int32]
    weights: Array
    details: NDArray[np.int8] | None
    hairlines: Array
    beard: BeardGround | None
    openings: EyeOpenings | None
    windows: dict[str, Window]
    brows: NDArray[np.uint8]
    brow_measures: Array

    @classmethod
    def prepare(cls, patch: UvPatch, openings: EyeOpenings | None, faces: NDArray, model: SkinModel) -> Canvas:
        points, lips = patch.positions, patch.regions["lips"]
        x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
        corners, weights = texel_corners(patch, faces)
        hairlines = [places.hairline_height(points, receded=value) for value in (0.0, 1.0)]
        hairlines = np.stack([*hairlines, *places.hairline_form(points)])
        beard = _window(BeardGround.prepare(points, lips).cover("full", WIDEST) > _LOWEST_BEARD)
        windows = {
            "hair": _window((hairlines[0] > -0.045) & (patch.regions["ears"] < 0.9)),
            "beard": beard,
        }
        if patch.name == "face":
            windows |= {
                "lips": _window(lips > 0.01),
                "forehead": _window((y > 0.02) & (y < 0.075) & (x < 0.06) & (z > 0.02)),
                "frown": _window((y > 0.004) & (y < 0.04) & (x < 0.014)),
                "crow": _window((x > 0.044) & (x < 0.070) & (np.abs(y + 0.002) < 0.025) & (z > 0.0)),
                "folds": _window((y > -0.115) & (y < -0.035) & (x < 0.05) & (z > 0.03)),
                "brows": _window((x < 0.078) & (y > 0.0) & (y < 0.052) & (z > 0.01)),
                "cheeks": _window((y > -0.08) & (y < 0.02) & (z > 0.0)),
            }
        if openings is not None:
            windows["eyes"] = _window((openings.upper < 0.018) | (openings.lower < 0.018))
        measures = np.stack([_measure_brow(brow) for brow in model.brows])
        return cls(
            patch, corners, weights, model.detail_on(patch), hairlines,
            BeardGround.prepare(points[beard], lips[beard]) if beard else None, openings,
            {name: window for name, window in windows.items() if window is not None}, model.brows, measures,
        )  # fmt: skip


def _window(mask: NDArray[np.bool_]) -> Window | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _measure_brow(brow: NDArray[np.uint8]) -> Array:
    """The middle (x, y) of a brow's picture and its mean thickness, m, how steeply it rises outwards, radians, and how far from
    the middle of the face it starts, m."""
    solid = cv2.GaussianBlur(brow, None, 1.5) > 50
    rows, columns = np.nonzero(solid)
    thickness = solid.sum(0)[solid.any(0)].mean()
    middle = (BROW_BOX[0] + BROW_TEXEL * columns.mean(), BROW_BOX[3] - BROW_TEXEL * rows.mean())
    slope = -np.arctan(np.polyfit(columns, rows, 1)[0])
    inner = BROW_BOX[0] + BROW_TEXEL * columns.min()
    return np.array([*middle, BROW_TEXEL * thickness, slope, inner], np.float32)


def paint_skin(
    canvas: Canvas,
    coat: SkinCoat,
    traits: Traits,
    photo: NDArray[np.uint8] | None = None,
    *,
    with_brows: bool = True,
) -> NDArray[np.uint8]:
    """The texture of one patch, uint8 sRGB [H, W, 4] (opaque).

    coat: the person's smooth skin (sheap.people.skin_ground.mix_skin), the same for all patches. photo: a skin picture [H, W, 3]
    of the patch in its place; lips, brows and the rest are painted on both.
    """
    patch = canvas.patch
    rng = np.random.default_rng([coat.seed, sum(map(ord, patch.name))])
    noise = _noise(rng, patch.shape)
    if photo is None:
        none = np.zeros(patch.shape, np.int8)
        first, second = (canvas.details[k] if canvas.details is not None else none for k in coat.details)
        log_color = _lay(canvas.corners, canvas.weights, coat.fields, first, second, noise)
    else:
        log_color = np.log(np.maximum(srgb_to_linear(photo[..., :3] / np.float32(255)), 0.004))
    windows = canvas.windows
    if "cheeks" in windows:
        _paint_cheeks(log_color, canvas, traits, noise)
        _paint_lines(log_color, canvas, traits, rng, noise)
        _paint_lips(log_color, canvas, traits, noise)
        _paint_spots(log_color, canvas, traits, np.random.default_rng([coat.seed, 5]))
    hair = np.log(srgb_to_linear(np.array(traits.hair_color))).astype(np.float32)
    if "eyes" in windows:
        _paint_eyes(log_color, canvas, traits)
    if "brows" in windows and with_brows:
        _paint_brows(log_color, canvas, traits, np.random.default_rng([coat.seed, 6]), noise)
    if "beard" in windows:
        _paint_stubble(log_color, canvas, traits, noise)
    if "hair" in windows:
        _paint_roots(log_color, canvas, traits, hair, noise)
    return _finish(log_color, _TABLE)


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """A random cut of fine noise, turned over at random: zero mean, unit spread."""
    height, width = shape
    top, left = (int(rng.integers(0, _NOISE_SIZE - side)) for side in (height, width))
    flip_y, flip_x = (1 - 2 * int(value) for value in rng.integers(0, 2, 2))
    return _NOISE[top : top + height, left : left + width][::flip_y, ::flip_x]


@numba.njit(cache=True, fastmath=True)
def _lay(corners, weights, fields, first, second, noise):
    height, width = corners.shape[:2]
    out = np.empty((height, width, 3), np.float32)
    scale = np.float32(DETAIL_RANGE / 127)
    for y in range(height):
        for x in range(width):
            a, b, c = corners[y, x, 0], corners[y, x, 1], corners[y, x, 2]
            wa, wb, wc = weights[y, x, 0], weights[y, x, 1], weights[y, x, 2]
            one = wa * fields[a, 3] + wb * fields[b, 3] + wc * fields[c, 3]
            two = wa * fields[a, 4] + wb * fields[b, 4] + wc * fields[c, 4]
            detail = scale * (one * first[y, x] + two * second[y, x]) + np.float32(0.018) * noise[y, x]
            for k in range(3):
                smooth = wa * fields[a, k] + wb * fields[b, k] + wc * fields[c, k]
                out[y, x, k] = smooth + detail * _DETAIL_TINT[k]
    return out


@numba.njit(cache=True, fastmath=True)
def _finish(log_color, table):
    height, width = log_color.shape[:2]
    out = np.empty((height, width, 4), np.uint8)
    scale = np.float32((_LEVELS - 1) / (_LOG_TO - _LOG_FROM))
    for y in range(height):
        for x in range(width):
            for k in range(3):
                level = int((log_color[y, x, k] - np.float32(_LOG_FROM)) * scale + np.float32(0.5))
                out[y, x, k] = table[min(max(level, 0), _LEVELS - 1)]
            out[y, x, 3] = 255
    return out


@numba.njit(cache=True, fastmath=True)
def _blend(part, cover, color):
    """Takes colours [h, w, 3] towards one [3], log linear RGB, by cover [h, w]."""
    for y in range(part.shape[0]):
        for x in range(part.shape[1]):
            share = np.float32(cover[y, x])
            if share > 0:
                for k in range(3):
                    part[y, x, k] += share * (np.float32(color[k]) - part[y, x, k])


@numba.njit(cache=True, fastmath=True)
def _tint(part, amount, pigment):
    """Adds an amount [h, w] of a pigment (log linear RGB [3]) to colours [h, w, 3]."""
    for y in range(part.shape[0]):
        for x in range(part.shape[1]):
            here = np.float32(amount[y, x])
            if here != 0:
                for k in range(3):
                    part[y, x, k] += here * pigment[k]


def _paint_cheeks(log_color: Array, canvas: Canvas, traits: Traits, noise: Array) -> None:
    """Freckles and blusher."""
    window = canvas.windows["cheeks"]
    points = canvas.patch.positions[window]
    if traits.freckles > 0:
        where = 0.6 + places.blob(points, (0.035, -0.025, 0.08), 0.03) + places.blob(points, (0, -0.02, 0.1), 0.02)
        spots = traits.freckles * where * smoothstep(0.9, 1.7, cv2.GaussianBlur(noise[window], None, 0.7) * 1.3)
        _tint(log_color[window], 0.45 * spots, MELANIN)
    if traits.makeup > 0:
        blush = 0.65 * traits.makeup * places.blob(points, (0.048, -0.030, 0.068), 0.014)
        _tint(log_color[window], blush, BLOOD)


def _groove(distance: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """A fold seen across: dark in the middle (1), a lighter rise beside it."""
    t = (distance / width) ** 2
    return np.exp(-0.5 * t) - 0.4 * np.exp(-0.5 * (np.abs(distance) / width - 2.2) ** 2)


def _paint_lines(log_color: Array, canvas: Canvas, traits: Traits, rng: np.random.Generator, noise: Array) -> None:
    """Lines of age and of feature: forehead, frown, crow's feet, from nose to mouth, below the mouth's corners, chin."""
    points = canvas.patch.positions

    def cut(name: str) -> tuple[Window, Array, Array, Array]:
        window = canvas.windows[name]
        part = points[window]
        return window, part[..., 0], part[..., 1], part[..., 2]

    if traits.forehead_lines > 0.05:
        window, x, y, _ = cut("forehead")
        spacing, bend, phase = rng.uniform(0.008, 0.014), rng.uniform(-1.5, 3.0), rng.uniform(0, 1)
        tilt = rng.normal(0, 0.03)
        level = y + bend * x**2 + tilt * x + 0.0012 * np.sin(x / rng.uniform(0.008, 0.02) + rng.uniform(0, 6))
        waves = np.clip(np.cos(2 * np.pi * (level / spacing + phase)) - 0.6, 0, 1) * 2.0
        waves = waves * smoothstep(0.026, 0.036, y) * smoothstep(0.070, 0.056, y) * smoothstep(0.055, 0.030, np.abs(x))
        _tint(log_color[window], 0.6 * traits.forehead_lines * waves, MELANIN)
    if traits.frown_lines > 0.05:
        window, x, y, _ = cut("frown")
        lean = rng.uniform(0.0, 0.25)
        lines = sum(_groove(x - side * (offset + lean * (y - 0.02)), 0.0011) * depth
                    for side, offset, depth in ((1, rng.uniform(0.003, 0.007), rng.uniform(0.4, 1)),
                                                (-1, rng.uniform(0.003, 0.007), rng.uniform(0.4, 1))))  # fmt: skip
        lines = lines * smoothstep(0.006, 0.013, y) * smoothstep(0.036, 0.024, y)
        _tint(log_color[window], 0.7 * traits.frown_lines * lines, MELANIN)
    window, x, y, z = cut("folds")
    lines = np.zeros(x.shape, np.float32)
    shift, slope, wide = rng.normal(0, 0.0016), rng.normal(0.014, 0.003), rng.uniform(0.0012, 0.0026)
    for side in (1, -1):
        across = side * x
        along = np.clip((-0.045 - y) / 0.032, 0, 1)
        distance = across - (0.0185 + shift + rng.normal(0, 0.0005) + slope * along)
        fade = smoothstep(-0.041, -0.050, y) * smoothstep(-0.084, -0.068, y) * (across > 0)
        lines += traits.fold_lines * rng.uniform(0.8, 1.2) * _groove(distance, wide) * fade
        below = across - (0.029 + 0.12 * (-0.078 - y))
        fade = smoothstep(-0.076, -0.082, y) * smoothstep(-0.104, -0.090, y) * (across > 0)
        lines += 0.7 * traits.mouth_lines * _groove(below, 0.0014) * fade
    chin = y + 0.0935 + 6 * x**2
    lines += traits.chin_crease * _groove(chin, 0.0022) * smoothstep(0.022, 0.010, np.abs(x))
    lines += 0.5 * traits.chin_dimple * np.exp(-0.5 * ((x / 0.0012) ** 2 + ((y + 0.110) / 0.005) ** 2))
    _tint(log_color[window], 0.6 * lines * (z > 0.03), MELANIN)
    if traits.age > 0.2:
        window, x, y, _ = cut("crow")
        across, height = np.abs(x) - 0.044, y + 0.002
        angle, radius = np.arctan2(height, across), np.hypot(height, across)
        crow = np.clip(np.cos(angle * rng.uniform(11, 17) + rng.uniform(0, 6)) - 0.45, 0, 1)
        crow = crow * smoothstep(0.004, 0.009, radius) * smoothstep(0.024, 0.013, radius) * smoothstep(1.0, 0.6, np.abs(angle))
        _tint(log_color[window], 0.75 * traits.age**1.3 * crow, MELANIN)


def _paint_lips(log_color: Array, canvas: Canvas, traits: Traits, noise: Array) -> None:
    window = canvas.windows["lips"]
    region = canvas.patch.regions["lips"][window]
    edge = 0.5 - 0.24 * traits.lip_fullness
    lips = smoothstep(edge - 0.22, edge + 0.22, region)
    if traits.lipstick > 0:
        paint = np.log(srgb_to_linear(np.array(traits.lipstick_color))).astype(np.float32)
        depth = np.float32(0.75 * traits.lipstick)
    else:
        paint, depth = None, np.float32(0)
    part = log_color[window]
    added = (0.15 + 0.85 * traits.lip_color) * 0.8 * BLOOD + (0.08 + 0.45 * traits.lip_dark) * MELANIN
    _tint(part, lips * (1 + 0.12 * noise[window]), added.astype(np.float32))
    if paint is not None:
        _blend(part, depth * lips, paint)
    rim = smoothstep(edge - 0.35, edge, region) * smoothstep(edge + 0.4, edge + 0.05, region)
    _tint(part, 0.30 * traits.lip_rim * rim, MELANIN)


def _paint_spots(log_color: Array, canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
    """Moles, and the wide faint spots of age."""
    coarse = 8
    points = canvas.patch.positions
    sparse = points[::coarse, ::coarse]
    texel = float(np.median(np.linalg.norm(np.diff(points[:, points.shape[1] // 2], axis=0), axis=-1)))
    age_spots = rng.poisson(14 * max(0.0, traits.age - 0.45))
    for number in range(traits.moles + age_spots):
        is_mole = number < traits.moles
        centre = np.array([rng.uniform(-0.062, 0.062), rng.uniform(-0.11, 0.065)], np.float32)
        radius = rng.uniform(0.0006, 0.0016) if is_mole else rng.uniform(0.0015, 0.004)
        depth = rng.uniform(0.6, 1.8) if is_mole else rng.uniform(0.1, 0.4)
        away = np.hypot(sparse[..., 0] - centre[0], sparse[..., 1] - centre[1]) + (sparse[..., 2] < 0.03)
        row, column = (int(value) * coarse for value in np.unravel_index(away.argmin(), away.shape))
        if away.min() > 0.01:
            continue
        reach = int(3.5 * radius / texel) + coarse
        window = (slice(max(row - reach, 0), row + reach), slice(max(column - reach, 0), column + reach))
        part = points[window]
        squared = (part[..., 0] - centre[0]) ** 2 + (part[..., 1] - centre[1]) ** 2
        _tint(log_color[window], depth * np.exp(-0.5 * (squared / radius**2) ** 1.5), MELANIN)


def _paint_brows(log_color: Array, canvas: Canvas, traits: Traits, rng: np.random.Generator, noise: Array) -> None:
    """One of the model's brows, moved, turned and stretched, each side a little of its own."""
    window = canvas.windows["brows"]
    points = canvas.patch.positions[window]
    picture = canvas.brows[traits.brow_style].astype(np.float32) / 255
    middle_x, middle_y, own, slope, inner = canvas.brow_measures[traits.brow_style]
    cover = np.zeros(points.shape[:2], np.float32)
    thick = traits.brow_thickness / own
    # Stretched from where it starts: long brows reach towards the temples, they do not meet.
    away = np.float32(traits.brow_gap + traits.brow_length * (middle_x - inner))
    for side in (1, -1):
        own_height, own_tilt, own_thick = rng.normal(0, [0.0008, 0.030, 0.07])
        across = side * points[..., 0] - away
        up = points[..., 1] - middle_y - np.float32(traits.brow_height + own_height)
        tilt = traits.brow_tilt + own_tilt - _LEVELLED * slope
        along = np.cos(tilt) * across + np.sin(tilt) * up
        up = np.cos(tilt) * up - np.sin(tilt) * across
        along = along / np.float32(traits.brow_length)
        # The arch lifts the middle of the brow over its ends.
        up = (up - np.float32(traits.brow_arch - 0.5) * (0.004 - 9.0 * along**2)) / np.float32(thick * (1 + own_thick))
        column = (along + middle_x - BROW_BOX[0]) / BROW_TEXEL - 0.5
        row = (BROW_BOX[3] - up - middle_y) / BROW_TEXEL - 0.5
        seen = cv2.remap(picture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderValue=0)
        cover = np.maximum(cover, seen * (side * points[..., 0] > -0.004))
    soft = cv2.GaussianBlur(cover, None, 2.0)
    cover = (0.6 * cover + 0.4 * soft) * (0.35 + 0.95 * traits.brow_density) * (1 + 0.15 * noise[window])
    color = np.log(srgb_to_linear(np.array(traits.brow_color))).astype(np.float32)
    _blend(log_color[window], np.clip(cover * (points[..., 2] > 0.01), 0, 0.9), color)


def _paint_stubble(log_color: Array, canvas: Canvas, traits: Traits, noise: Array) -> None:
    kind = {"none": None, "stubble": "full"}.get(traits.beard, traits.beard)
    if kind is None:
        return
    assert canvas.beard is not None
    window = canvas.windows["beard"]
    density = traits.beard_density
    depth = 0.08 + 0.42 * density**1.5 if traits.beard == "stubble" else 0.45 + 0.4 * density
    cover = canvas.beard.cover(kind, BeardForm.of(traits)) * np.clip(depth * (1 + 0.28 * noise[window]), 0, 0.9)
    hair = np.log(srgb_to_linear(np.array(traits.beard_color))).astype(np.float32)
    _blend(log_color[window], cover, np.minimum(hair, np.log(np.float32(0.2))))


def _paint_roots(log_color: Array, canvas: Canvas, traits: Traits, hair: Array, noise: Array) -> None:
    """Scalp darkened by hair roots: a dense shadow under full hair, a faint one on shaved heads."""
    window = canvas.windows["hair"]
    full, receded, peak, corners = canvas.hairlines[(slice(None), *window)]
    own = np.float32(traits.hairline_shift) + np.float32(traits.hairline_corners) * corners
    own -= np.float32(traits.hairline_peak) * peak
    share = 1.0 if traits.hair_style in ("receding", "bald") else traits.receded
    above = full + np.float32(share) * (receded - full) - own + 0.002 * noise[window]
    depth = {"bald": 0.18, "buzz": 0.72, "receding": 0.5}.get(traits.hair_style, 0.85)
    soft = 0.035 if traits.hair_style == "bald" else 0.012
    cover = smoothstep(-0.7 * soft, soft, above) * depth * np.clip(1 + 0.25 * noise[window], 0.4, 1.15)
    if traits.hair_style == "bald" and traits.age > 0.5:
        cover = cover * 0.3
    cover = np.clip(cover * (1 - smoothstep(0.3, 0.8, canvas.patch.regions["ears"][window])), 0, 0.95)
    _blend(log_color[window], cover, hair - np.float32(0.25))


def _paint_eyes(log_color: Array, canvas: Canvas, traits: Traits) -> None:
    """Lid edges with lashes' roots, the crease of the upper lid, bags, liner and shadow."""
    window = canvas.windows["eyes"]
    assert canvas.openings is not None
    upper, lower = canvas.openings.upper[window], canvas.openings.lower[window]
    is_above = upper < lower
    crease = _groove(upper - np.float32(traits.lid_crease), 0.0009) * (upper < 0.012) * is_above
    bag = _groove(lower - np.float32(traits.bag_height), 0.0016) * (lower < 0.014) * ~is_above
    part = log_color[window]
    _tint(part, 1.1 * traits.lid_crease_depth * crease + 0.8 * traits.eye_bags * bag, MELANIN)
    if traits.makeup > 0:
        shade = 0.70 * traits.makeup * smoothstep(0.009, 0.002, upper) * is_above
        color = np.log(srgb_to_linear(np.array(traits.eyeshadow_color))).astype(np.float32)
        _blend(part, shade, color)
    lash = np.log(np.array([0.03, 0.02, 0.018], np.float32))
    dark = 0.45 + 0.4 * traits.lash_density
    above = np.exp(-0.5 * (upper / (0.0009 + 0.0018 * traits.makeup)) ** 2) * min(1.0, dark + 0.3 * traits.makeup)
    below = np.exp(-0.5 * (lower / (0.0008 + 0.0006 * traits.makeup)) ** 2) * min(0.9, 0.48 * dark + 0.5 * traits.makeup)
    _blend(log_color[window], np.clip(np.maximum(above, below), 0, 1), lash)
