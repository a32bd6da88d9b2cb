"""Paints skin: tone, blood, freckles, lines, lips, brows, stubble and hair roots, as sRGB textures of the UV
patches."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people import face_places as places
from sheap.people.colours import linear_to_srgb, srgb_to_linear
from sheap.people.noise import image_noise, point_noise, smoothstep
from sheap.people.traits import Traits
from sheap.people.uv_atlas import UvPatch

Array = NDArray[np.float32]

_TONES_AT = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_TONES = np.array([[243, 210, 192], [228, 184, 154], [194, 141, 105], [139, 91, 64], [86, 56, 43]]) / 255
"""Skin from fair to dark, sRGB."""

# What one unit of blood and of melanin does to the log of linear RGB: blood takes green and blue, melanin takes all,
# blue most.
_BLOOD = np.array([-0.03, -0.34, -0.30], np.float32)
_MELANIN = np.array([-0.30, -0.46, -0.58], np.float32)


@dataclass(frozen=True)
class EyeOpenings:
    """Distances (m) of a patch's texels [H, W] to the edges of the upper and the lower lids of the mean head."""

    upper: Array
    lower: Array


@dataclass(frozen=True)
class Canvas:
    """A patch with what every person's skin has in the same place, each [H, W]: blood (cheeks, nose, chin, ears,
    lids), tired (under the eyes), lids, freckled. openings: the lids' edges, where the patch has eyes."""

    patch: UvPatch
    blood: Array
    tired: Array
    lids: Array
    freckled: Array
    openings: EyeOpenings | None

    @classmethod
    def prepare(cls, patch: UvPatch, openings: EyeOpenings | None) -> Canvas:
        points = patch.positions
        blood = (
            0.55 * places.blob(points, (0.042, -0.034, 0.075), 0.019)
            + 0.45 * places.blob(points, (0.0, -0.040, 0.104), 0.014)
            + 0.25 * places.blob(points, (0.0, -0.108, 0.085), 0.016)
            + 0.18 * places.blob(points, (0.03, 0.008, 0.075), 0.012)
            + 0.6 * patch.regions["ears"]
        )
        freckled = 0.6 + places.blob(points, (0.035, -0.025, 0.08), 0.03) + places.blob(points, (0, -0.02, 0.1), 0.02)
        tired = places.blob(points, (0.029, -0.0155, 0.074), 0.0065)
        return cls(patch, blood, tired, smoothstep(0.2, 0.8, patch.regions["eyelids"]), freckled, openings)


def skin_tone(traits: Traits) -> Array:
    """A person's plain skin colour, linear RGB [3]."""
    tone = np.array([np.interp(traits.melanin, _TONES_AT, _TONES[:, c]) for c in range(3)])
    return srgb_to_linear(tone) * np.exp(traits.undertone * np.array([0.0, -0.05, 0.07], np.float32))


def paint_skin(
    canvas: Canvas, traits: Traits, seed: int, photo: NDArray[np.uint8] | None = None, *, with_brows: bool = True
) -> NDArray[np.uint8]:
    """The texture of one patch, uint8 sRGB [H, W, 4] (opaque).

    photo: a skin picture [H, W, 3] of the patch to start from instead of the procedural base; lips, brows and hair
    roots are painted on both. Patches of one person share `seed`, so that colours meet at their seams.
    """
    patch = canvas.patch
    points = patch.positions
    height, width = patch.shape
    lips = smoothstep(0.25, 0.75, patch.regions["lips"])
    coarse = points[::4, ::4]

    def in_space(salt: int, wavelength: float) -> Array:
        """Noise by place in space: it runs on across seams. Drawn coarsely, since it is smooth."""
        small = point_noise(np.random.default_rng([seed, salt]), coarse, wavelength)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)

    rng = np.random.default_rng([seed, sum(map(ord, patch.name))])
    fine_cells = 0.9 * max(height, width)
    fine = image_noise(rng, height, width, fine_cells / 2)
    pores = image_noise(rng, height, width, fine_cells / 4)
    blotch = in_space(1, 0.03)
    mottle = in_space(2, 0.010)

    blood = traits.blood * canvas.blood + 0.10 * blotch + (0.07 + 0.08 * traits.age) * mottle + 0.05 * pores
    melanin = 0.07 * in_space(3, 0.05) + (0.04 + 0.06 * traits.age) * in_space(4, 0.014) + 0.035 * fine
    # Darker skin under the eyes; the lids a little darker all around.
    melanin = melanin + (0.10 + 0.25 * traits.age) * canvas.tired + 0.12 * canvas.lids
    if traits.freckles > 0:
        spots = image_noise(rng, height, width, fine_cells / 5)
        melanin = melanin + 0.35 * traits.freckles * canvas.freckled * smoothstep(0.9, 1.7, spots + 0.5 * blotch)
    melanin = melanin + _moles(points, np.random.default_rng([seed, 5]))
    lines = traits.age**1.5 * _lines(points, in_space(6, 0.03))

    if photo is None:
        base = np.log(skin_tone(traits))
        log_color = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
        strength = 1.0
    else:
        log_color = np.log(np.maximum(srgb_to_linear(photo[..., :3] / np.float32(255)), 0.004))
        strength = 0.45
    log_color = log_color + strength * (blood[..., None] * _BLOOD + (melanin + lines)[..., None] * _MELANIN)

    log_color = _paint_lips(log_color, lips, traits, fine)
    inside = patch.regions["mouth_interior"] * (1 - lips)
    flesh = np.log(np.array([0.30, 0.07, 0.06], np.float32))
    log_color += (smoothstep(0.3, 0.9, inside) * 0.9)[..., None] * (flesh - log_color)
    sockets = smoothstep(0.5, 1.0, patch.regions["eye_sockets"])
    log_color += (sockets * 0.6)[..., None] * (np.log(np.array([0.45, 0.2, 0.17], np.float32)) - log_color)

    hair = np.log(srgb_to_linear(np.array(traits.hair_color)))
    brow_hair = np.minimum(hair, np.log(np.float32(0.16)))
    cover = (
        _brow_cover(points, traits, rng)
        if patch.name == "face" and with_brows
        else np.zeros((height, width), np.float32)
    )
    cover = np.maximum(cover, _stubble_cover(points, patch.regions["lips"], traits, fine, pores))
    log_color += cover[..., None] * (brow_hair - log_color)
    roots = _root_cover(points, patch, traits, fine, mottle)
    log_color += roots[..., None] * (hair - 0.25 - log_color)
    if canvas.openings is not None:
        log_color = _paint_lid_edges(log_color, canvas.openings, traits)
    srgb = linear_to_srgb(np.exp(log_color))
    out = np.full((height, width, 4), 255, np.uint8)
    out[..., :3] = (np.clip(srgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    return out


def _moles(points: Array, rng: np.random.Generator) -> Array:
    total = np.zeros(points.shape[:2], np.float32)
    for _ in range(rng.poisson(2.5)):
        centre = np.array([rng.uniform(-0.06, 0.06), rng.uniform(-0.1, 0.06), 0.0], np.float32)
        squared = (points[..., 0] - centre[0]) ** 2 + (points[..., 1] - centre[1]) ** 2
        total += 1.2 * np.exp(-0.5 * squared / rng.uniform(0.0006, 0.0014) ** 2) * (points[..., 2] > 0.03)
    return total


def _lines(points: Array, warp: Array) -> Array:
    """Lines of age: across the forehead, beside the eyes, from the nose to the mouth's corners."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    forehead = np.clip(np.cos(2 * np.pi * (y + 0.0015 * warp) / 0.011) - 0.55, 0, 1) * 1.2
    forehead = forehead * smoothstep(0.025, 0.034, y) * smoothstep(0.068, 0.058, y) * smoothstep(0.055, 0.035, x)
    angle = np.arctan2(y + 0.002, x - 0.044)
    radius = np.hypot(y + 0.002, x - 0.044)
    crow = (
        np.clip(np.cos(angle * 14 + warp) - 0.4, 0, 1)
        * smoothstep(0.004, 0.008, radius)
        * smoothstep(0.022, 0.014, radius)
    )
    crow = crow * smoothstep(1.0, 0.6, np.abs(angle))
    along = np.clip((-0.045 - y) / 0.032, 0, 1)
    fold_x = 0.0185 + 0.014 * along + 0.001 * warp
    fold = np.exp(-0.5 * ((x - fold_x) / 0.0018) ** 2) * smoothstep(-0.043, -0.05, y) * smoothstep(-0.081, -0.07, y)
    return (0.35 * forehead + 0.35 * crow + 0.8 * fold) * (z > 0.02)


def _paint_lips(log_color: Array, lips: Array, traits: Traits, fine: Array) -> Array:
    where = lips > 0
    depth = 0.55 + 0.75 * traits.lip_color
    bare = log_color[where]
    natural = bare + depth * 0.9 * _BLOOD + (0.12 + 0.25 * traits.melanin) * _MELANIN
    natural = natural + 0.05 * fine[where][:, None]
    if traits.lipstick > 0:
        paint = np.log(np.array([0.42, 0.05, 0.07], np.float32) * np.float32(0.7 + 0.6 * traits.lip_color))
        natural = natural + 0.75 * np.float32(traits.lipstick) * (paint - natural)
    # A crisper edge with lipstick, a faded one without.
    cover = lips[where] * (0.8 + 0.2 * min(1.0, traits.lipstick * 2))
    painted = log_color.copy()
    painted[where] += cover[:, None] * (natural - bare)
    return painted


def _brow_cover(points: Array, traits: Traits, rng: np.random.Generator) -> Array:
    along, across = places.brow_coordinates(points, traits.brow_arch, traits.brow_height)
    half = traits.brow_thickness * np.interp(along, [-0.02, 0.1, 0.5, 0.8, 1.02], [0.75, 1.0, 0.85, 0.55, 0.12]).astype(
        np.float32
    )
    edge = np.abs(across) / np.maximum(half, 1e-5)
    body = smoothstep(1.15, 0.55, edge) * smoothstep(-0.06, 0.10, along) * smoothstep(1.06, 0.93, along)
    # Hairs point up near the nose and along the brow further out: noise stretched along that direction.
    lean = np.interp(along, [0, 0.25, 0.7, 1.0], [1.25, 0.75, 0.25, -0.1]).astype(np.float32)
    side = np.sign(points[..., 0]) * 0.1
    along_m = along * np.float32(0.046)
    cross_hair = (-np.sin(lean) * along_m + np.cos(lean) * across).astype(np.float32)
    with_hair = (np.cos(lean) * along_m + np.sin(lean) * across).astype(np.float32)
    cover = body * (points[..., 2] > 0.03)
    grown = cover > 0
    where = np.stack([cross_hair * 1000, with_hair * 90, side], -1)[grown]
    strokes = point_noise(rng, where, 0.65, components=40)
    hairs = smoothstep(-1.2, 1.2, strokes + 1.2 * (traits.brow_density - 0.5) + 0.6 * (1 - edge[grown]))
    cover[grown] *= (0.25 + 0.75 * hairs) * (0.35 + 0.6 * traits.brow_density)
    return cover.astype(np.float32)


def _stubble_cover(points: Array, lips: Array, traits: Traits, fine: Array, pores: Array) -> Array:
    weight = {
        "none": None,
        "stubble": places.beard_weight,
        "moustache": places.moustache_weight,
        "goatee": places.goatee_weight,
        "full": places.beard_weight,
    }[traits.beard]
    if weight is None:
        return np.zeros(points.shape[:2], np.float32)
    depth = 0.34 if traits.beard == "stubble" else 0.6
    return weight(points, lips) * np.clip(depth * (1 + 0.32 * fine + 0.15 * pores), 0, 0.85)


def _root_cover(points: Array, patch: UvPatch, traits: Traits, fine: Array, mottle: Array) -> Array:
    """Scalp darkened by hair roots: a dense shadow under full hair, a faint one on shaved heads."""
    receded = 1.0 if traits.hair_style in ("receding", "bald") else 0.0
    above = places.hairline_height(points, receded=receded) + np.float32(0.003) * mottle
    depth = {"bald": 0.18, "buzz": 0.72, "receding": 0.5}.get(traits.hair_style, 0.85)
    soft = 0.035 if traits.hair_style == "bald" else 0.012
    cover = smoothstep(-0.7 * soft, soft, above) * depth * np.clip(1 + 0.25 * fine, 0.4, 1.15)
    if traits.hair_style == "bald" and traits.age > 0.5:
        cover = cover * 0.3
    return np.clip(cover * (1 - smoothstep(0.3, 0.8, patch.regions["ears"])), 0, 0.95)


def _paint_lid_edges(log_color: Array, openings: EyeOpenings, traits: Traits) -> Array:
    lash = np.log(np.array([0.03, 0.02, 0.018], np.float32))
    upper = np.exp(-0.5 * (openings.upper / (0.0013 + 0.0009 * traits.makeup)) ** 2) * (0.75 + 0.2 * traits.makeup)
    lower = np.exp(-0.5 * (openings.lower / 0.0008) ** 2) * (0.35 + 0.4 * traits.makeup)
    shade = np.exp(-0.5 * (openings.upper / 0.006) ** 2) * 0.35 * traits.makeup
    cover = np.clip(np.maximum(np.maximum(upper, lower), shade), 0, 1)
    return log_color + cover[..., None].astype(np.float32) * (lash - log_color)
