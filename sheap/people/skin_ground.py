"""What the skins of all people have in common: where on the head things lie, and how skins of the statistical model mix.

Everything smooth is worked out for each vertex of the mean head; a texel takes it from the corners of its triangle. So colours
meet at the seams of patches, and a person costs thousands of vertices in place of hundreds of thousands of texels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.people import face_places as places
from sheap.people.beards import BeardForm, BeardGround
from sheap.people.colours import srgb_to_linear
from sheap.people.noise import point_noise, smoothstep
from sheap.people.skin_model import SkinModel
from sheap.people.traits import Traits

Array = NDArray[np.float32]

_TONES_AT = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_TONES = np.array([[230, 191, 170], [219, 174, 146], [194, 141, 108], [137, 91, 66], [80, 53, 42]]) / 255
"""Skin from fair to dark, sRGB."""

# What one unit of blood and of melanin does to the log of linear RGB: blood takes green and blue, melanin takes all,
# blue most.
BLOOD = np.array([-0.03, -0.34, -0.30], np.float32)
MELANIN = np.array([-0.30, -0.46, -0.58], np.float32)
_WHISKERS = np.array([-0.42, -0.36, -0.26], np.float32)
"""What cut whiskers under the skin do: darker, and a little blue."""

_PALEST = np.float32(-0.12)
_LIGHTEST, _SHOULDER = np.log(np.array([0.92, 0.80, 0.74], np.float32)), np.float32(0.10)

_AREAS = (
    ((0.0, 0.052, 0.085), 0.024),
    ((0.030, 0.006, 0.078), 0.015),
    ((0.0, -0.030, 0.105), 0.015),
    ((0.050, -0.038, 0.065), 0.020),
    ((0.0, -0.070, 0.095), 0.016),
    ((0.0, -0.105, 0.085), 0.020),
    ((0.072, -0.045, 0.005), 0.040),
)
"""Centres and radii (m) of the areas that can have different skins: forehead, eyes, nose, cheeks, mouth, chin, sides."""
_CONTOURS = (
    (0.028, 0.013, 0.0060), (0.015, 0.002, 0.0045), (0.010, -0.020, 0.0050), (0.0, -0.012, 0.0050), (0.014, -0.042, 0.0045),
    (0.0, -0.036, 0.0060), (0.050, -0.062, 0.0130), (0.050, -0.028, 0.0110), (0.0, -0.062, 0.0045), (0.0, -0.090, 0.0060),
    (0.060, 0.030, 0.0150), (0.0, -0.112, 0.0100), (0.030, -0.076, 0.0055), (0.042, -0.006, 0.0050), (0.0, 0.045, 0.0160),
)  # fmt: skip
"""Places (x, y) and radii (m, from the front) that are darker in some people and lighter in others: under the brows, corners of
the eyes, sides and bridge of the nose, hollows and bones of the cheeks, around the mouth, temples, chin and forehead."""
_BANK = 24
_WAVELENGTHS = (0.05, 0.024, 0.011)
_EVEN_WAVELENGTH = 0.032


@dataclass(frozen=True)
class SkinGround:
    """The mean head's vertices [V], ready for mixing. model: skins; areas [V, A]: shares of _AREAS; noise [B, 3, V]: a bank of
    random fields at three wavelengths; even [B, V]: of fields that are alike on both sides; contours [C, V]: spots of _CONTOURS;
    blood, tired, lids, sockets, mouth [V]: where cheeks redden, eyes look tired, the lids are and inner skin lies; beard: where
    beards grow."""

    model: SkinModel
    areas: Array
    noise: Array
    even: Array
    contours: Array
    blood: Array
    tired: Array
    lids: Array
    beard: BeardGround
    sockets: Array
    mouth: Array

    @classmethod
    def prepare(cls, model: SkinModel, template: Array, regions: dict[str, Array]) -> SkinGround:
        """template [V, 3]; regions: weights [V] by name. Raises ValueError when the skins belong to another mesh."""
        if model.colours.shape[1] != len(template):
            raise ValueError(
                f"open_skins.safetensors: has {model.colours.shape[1]} vertices, the head has {len(template)}; "
                "rebuild it (python -m pipeline.commands.looks build)"
            )
        near = np.stack([places.blob(template, centre, radius) for centre, radius in _AREAS], -1) + 1e-5
        blood = (
            0.55 * places.blob(template, (0.042, -0.034, 0.075), 0.019)
            + 0.45 * places.blob(template, (0.0, -0.040, 0.104), 0.014)
            + 0.25 * places.blob(template, (0.0, -0.108, 0.085), 0.016)
            + 0.18 * places.blob(template, (0.03, 0.008, 0.075), 0.012)
            + 0.6 * regions["ears"]
        )
        rng = np.random.default_rng(7)
        noise = np.stack([[point_noise(rng, template, length) for length in _WAVELENGTHS] for _ in range(_BANK)])
        either = template * np.array([0, 1, 1], np.float32) + np.abs(template) * np.array([1, 0, 0], np.float32)
        even = np.stack([point_noise(rng, either, _EVEN_WAVELENGTH) for _ in range(_BANK)])
        across, up = np.abs(template[:, 0]), template[:, 1]
        contours = np.stack([np.exp(-0.5 * ((across - x) ** 2 + (up - y) ** 2) / r**2) for x, y, r in _CONTOURS])
        contours = contours * (template[:, 2] > 0.0)
        return cls(
            model, near / near.sum(-1, keepdims=True), noise.astype(np.float32), even, contours.astype(np.float32),
            blood.astype(np.float32),
            places.blob(template, (0.029, -0.0155, 0.074), 0.0075), regions["eyelids"].astype(np.float32),
            BeardGround.prepare(template, regions["lips"]), regions["eye_sockets"].astype(np.float32),
            (regions["mouth_interior"] * (1 - regions["lips"])).astype(np.float32),
        )  # fmt: skip


@dataclass(frozen=True)
class SkinCoat:
    """One person's smooth skin. fields [V, 5]: log linear RGB, then how strongly each of two details shows; details: which two of
    the model's details and their mirror images those are; seed."""

    fields: Array
    details: tuple[int, int]
    seed: int


def skin_tone(traits: Traits) -> Array:
    """A person's plain skin colour, linear RGB [3]."""
    tone = np.array([np.interp(traits.melanin, _TONES_AT, _TONES[:, c]) for c in range(3)])
    return srgb_to_linear(tone) * np.exp(traits.undertone * np.array([0.0, -0.05, 0.07], np.float32))


def mix_skin(ground: SkinGround, traits: Traits, seed: int) -> SkinCoat:
    """A person's mixture of the model's skins, their own colouring and their age on it."""
    rng = np.random.default_rng([seed, 61])
    model = ground.model
    shares = _shares(model, traits, rng, len(_AREAS))
    by_vertex = (ground.areas @ shares).T[..., None]
    pattern = np.float32(traits.skin_contrast) * (by_vertex * model.colours).sum(0)
    mix = rng.standard_normal((2, 3, _BANK)).astype(np.float32) / np.float32(np.sqrt(_BANK))
    coarse, middle, fine = np.einsum("kwb,bwv->wkv", mix, ground.noise)
    patchy = np.float32(traits.blotches)
    blood = traits.blood * 0.75 * ground.blood + patchy * (0.20 * coarse[0] + 0.16 * middle[0] + 0.12 * fine[0])
    blood = blood + 0.35 * traits.lid_red * (ground.lids + 0.6 * ground.tired)
    melanin = patchy * (0.12 * coarse[1] + 0.09 * middle[1] + 0.08 * (0.5 + traits.age) * fine[1])
    even = rng.standard_normal((2, _BANK)).astype(np.float32) / np.float32(np.sqrt(_BANK)) @ ground.even
    blood = blood + 0.24 * traits.pattern * even[0]
    melanin = melanin + 0.26 * traits.pattern * even[1]
    contour = traits.contour * rng.standard_normal(len(_CONTOURS)).astype(np.float32) @ ground.contours
    melanin, blood = melanin + 0.30 * contour, blood + 0.10 * contour
    melanin = melanin + 0.75 * traits.eye_bags * ground.tired + 0.8 * traits.lid_dark * ground.lids
    # Skin without its share of blood is pale, not green.
    blood = np.maximum(blood, _PALEST)
    log_color = np.log(skin_tone(traits)) + pattern + blood[:, None] * BLOOD + melanin[:, None] * MELANIN
    if traits.beard_shadow > 0:
        grows = ground.beard.cover("full", BeardForm.of(traits))
        whiskers = traits.beard_shadow * grows * np.clip(1 + 0.3 * middle[1], 0.2, 1.6)
        log_color = log_color + whiskers[:, None] * _WHISKERS
    # The fairest patch of the fairest person is still skin, not paper.
    log_color = -_SHOULDER * np.logaddexp(-log_color / _SHOULDER, -_LIGHTEST / _SHOULDER)
    flesh = np.log(np.array([0.30, 0.07, 0.06], np.float32))
    log_color = log_color + 0.9 * ground.mouth[:, None] * (flesh - log_color)
    lining = np.log(np.array([0.45, 0.2, 0.17], np.float32) * np.float32(1 - 0.45 * traits.melanin))
    log_color = log_color + 0.6 * ground.sockets[:, None] * (lining - log_color)
    first, second = _detail_pair(model, shares, rng)
    where = smoothstep(-0.5, 0.5, coarse[0] + middle[1])
    strength = np.float32(traits.skin_detail)
    fields = np.concatenate([log_color, (strength * where)[:, None], (strength * (1 - where))[:, None]], -1)
    return SkinCoat(np.ascontiguousarray(fields, np.float32), (first, second), seed)


def _shares(model: SkinModel, traits: Traits, rng: np.random.Generator, areas: int) -> Array:
    """How much of each skin [A, K] each area has: those of like people most, one person's areas alike but not the same."""
    likeness = np.array(
        [
            1.9 * float(np.dot(source.ancestry, traits.ancestry))
            + 1.0 * (source.sex == traits.sex)
            - 1.5 * abs((source.age_years - 18) / 62 - traits.age)
            for source in model.sources
        ]
    )
    person = likeness + 1.0 * rng.gumbel(size=len(likeness))
    area = person + 1.2 * rng.gumbel(size=(areas, len(likeness)))
    shares = np.exp(1.6 * (area - area.max(1, keepdims=True)))
    shares /= shares.sum(1, keepdims=True)
    # Beyond the skins there are: each is also taken a little more, or less, than its share.
    shares = shares + 0.18 * rng.standard_normal(shares.shape) * np.sqrt(shares)
    return shares.astype(np.float32)


def _detail_pair(model: SkinModel, shares: Array, rng: np.random.Generator) -> tuple[int, int]:
    chance = np.clip(shares.mean(0), 0.01, None).astype(np.float64)
    count = len(chance)
    chosen = rng.choice(count, 2, replace=False, p=chance / chance.sum()) + count * rng.integers(0, 2, 2)
    return int(chosen[0]), int(chosen[1])
