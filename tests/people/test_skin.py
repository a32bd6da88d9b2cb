from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from sheap.people.beards import WIDEST, BeardGround
from sheap.people.eyes import paint_eye
from sheap.people.skin import paint_skin
from sheap.people.skin_ground import mix_skin, skin_tone


def canvas(studio, name="face", scale=1.0):
    return next(c for c in studio.canvases_at(scale) if c.patch.name == name)


def paint(studio, traits, seed, name="face", scale=1.0, **options):
    return paint_skin(canvas(studio, name, scale), mix_skin(studio.skin_ground, traits, seed), traits, **options)


def mean_color(texture, mask):
    return texture[..., :3][mask].astype(float).mean(0)


def cheeks(places):
    return (np.abs(np.abs(places[..., 0]) - 0.045) < 0.01) & (np.abs(places[..., 1] + 0.03) < 0.01)


PLAIN = {"beard": "none", "beard_shadow": 0.0, "hair_style": "bald", "makeup": 0.0, "lipstick": 0.0, "freckles": 0.0, "moles": 0}


def test_patches_cover_the_skin_and_know_where_they_are(studio):
    covered = np.concatenate([c.patch.faces for c in studio.canvases_at(1.0)])
    skin = (studio.soft_regions["skin"] > 0.5)[studio.faces].all(1)
    assert np.array_equal(np.sort(covered), np.flatnonzero(skin))
    face = canvas(studio)
    patch = face.patch
    # A texel at a vertex's UV holds that vertex's place, and so do the corners that it is coloured from.
    height, width = patch.shape
    corners = studio.template[studio.faces[patch.faces]]
    x = np.clip((patch.corner_uv[..., 0] * width).astype(int), 0, width - 1)
    y = np.clip((patch.corner_uv[..., 1] * height).astype(int), 0, height - 1)
    distance = np.linalg.norm(patch.positions[y, x] - corners, axis=-1)
    assert np.median(distance) < 0.0008 and np.quantile(distance, 0.99) < 0.004
    interpolated = (studio.template[face.corners] * face.weights[..., None]).sum(2)
    assert np.abs(interpolated - patch.positions).max() < 1e-4


def test_lips_are_redder_brows_darker_and_melanin_darkens(studio, member):
    face = canvas(studio)
    plain = dataclasses.replace(
        member.traits, **PLAIN, melanin=0.2, lip_color=0.8, brow_color=(0.1, 0.08, 0.07), brow_density=0.9, brow_style=0,
        brow_height=0.0, brow_tilt=0.0, brow_gap=face.brow_measures[0, 4], brow_length=1.0, brow_arch=0.5, brow_thickness=0.006,
    )  # fmt: skip
    texture = paint(studio, plain, 1)
    places, regions = face.patch.positions, face.patch.regions
    lips = regions["lips"] > 0.9
    middle_x, middle_y, *_ = face.brow_measures[0]
    brow = (np.abs(np.abs(places[..., 0]) - middle_x) < 0.006) & (np.abs(places[..., 1] - middle_y) < 0.0012)
    brow &= places[..., 2] > 0.03
    skin, lip, hair = (mean_color(texture, mask) for mask in (cheeks(places), lips, brow))
    assert lip[1] / lip[0] < skin[1] / skin[0] - 0.04
    assert hair.mean() < 0.75 * skin.mean()
    dark = paint(studio, dataclasses.replace(plain, melanin=0.9), 1)
    assert mean_color(dark, cheeks(places)).mean() < 0.6 * skin.mean()


@pytest.mark.parametrize("length", [0.7, 1.4])
def test_brows_start_where_they_are_said_to_however_long(studio, member, length):
    """Long brows reach towards the temples: stretched about their middle, they would meet above the nose."""
    face = canvas(studio)
    traits = dataclasses.replace(
        member.traits, **PLAIN, melanin=0.1, brow_color=(0.02, 0.02, 0.02), brow_density=1.0, brow_style=0, brow_height=0.0,
        brow_tilt=0.0, brow_gap=0.012, brow_length=length, brow_arch=0.5, brow_thickness=0.008,
    )  # fmt: skip
    x, y, z = np.moveaxis(face.patch.positions, -1, 0)
    band = (np.abs(y - face.brow_measures[0, 1]) < 0.008) & (z > 0.03)
    brows = paint(studio, traits, 1)[..., 1].astype(int)
    bare = paint(studio, traits, 1, with_brows=False)[..., 1].astype(int)
    across = np.abs(x[band & (brows < bare - 40)])
    assert np.quantile(across, 0.01) == pytest.approx(0.012, abs=0.003)
    assert across.max() > 0.012 + 0.8 * length * 0.045


def test_stubble_ends_where_a_mans_own_does(studio, member):
    """Between nose and upper lip, on the cheek, and beside the mouth."""
    ground = BeardGround.prepare(canvas(studio).patch.positions, canvas(studio).patch.regions["lips"])
    cover = ground.cover("full", WIDEST)
    assert (cover > 0.5).any() and cover.max() <= 1 and cover.min() >= 0
    for change, where in (
        ({"cheek": 0.016}, ground.cheek > 0.9),
        ({"neck": 0.012}, ground.up < -0.1),
        ({"bare": 1.0}, ground.beside > 0.8),
        ({"lip": 0.0}, ground.lip > 0.9),
    ):
        less = ground.cover("full", WIDEST._replace(**change))
        assert (less <= cover + 1e-6).all()
        assert less[where].sum() < 0.85 * cover[where].sum()
    narrow, wide = (ground.cover("goatee", WIDEST._replace(width=width)) for width in (0.024, 0.046))
    assert narrow.sum() < 0.8 * wide.sum()


def test_neighbouring_patches_meet_in_colour(studio, member):
    traits = dataclasses.replace(member.traits, **PLAIN)
    skins = {name: paint(studio, traits, 3, name)[..., :3].astype(float) for name in ("face", "skull", "nape")}

    def by_vertex(name):
        patch = canvas(studio, name).patch
        height, width = patch.shape
        x = np.clip((patch.corner_uv[..., 0] * width).astype(int), 0, width - 1)
        y = np.clip((patch.corner_uv[..., 1] * height).astype(int), 0, height - 1)
        return dict(zip(studio.faces[patch.faces].ravel(), skins[name][y, x].reshape(-1, 3)))

    for one, other in ((by_vertex("face"), by_vertex("skull")), (by_vertex("skull"), by_vertex("nape"))):
        shared = sorted(set(one) & set(other))
        assert len(shared) > 10
        difference = np.array([one[v] - other[v] for v in shared])
        assert np.abs(difference.mean(0)).max() < 6 and np.median(np.abs(difference)) < 9


def test_skin_follows_its_seed(studio, member):
    first, again, other = (paint(studio, member.traits, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_mixtures_stay_within_the_colours_of_skin(studio, member):
    """No mixture leaves what the screen can show, and bare cheeks keep the person's own tone."""
    places = canvas(studio).patch.positions
    for seed, melanin in enumerate((0.0, 0.2, 0.5, 0.8, 1.0)):
        traits = dataclasses.replace(member.traits, **PLAIN, melanin=melanin, blood=0.5)
        coat = mix_skin(studio.skin_ground, traits, seed)
        face = (studio.soft_regions["face"] > 0.5) & (studio.soft_regions["mouth_interior"] < 0.5)
        linear = np.exp(coat.fields[face, :3])
        assert linear.max() < 1.2 and np.quantile(linear, 0.99) < 1.0 and linear.min() > 0.002
        painted = mean_color(paint(studio, traits, seed), cheeks(places)) / 255
        tone = skin_tone(traits)
        assert np.abs(np.log((painted / 1.055 + 0.052) ** 2.4 / tone)).max() < 0.6


def test_every_person_has_a_mixture_of_their_own(studio, member):
    """Colours of two people with the same traits differ over the face, and not by one tone alone."""
    traits = dataclasses.replace(member.traits, **PLAIN)
    face = studio.soft_regions["face"] > 0.5
    fields = np.stack([mix_skin(studio.skin_ground, traits, seed).fields[face, :3] for seed in range(12)])
    uneven = fields - fields.mean(1, keepdims=True)
    assert uneven.std(0).mean() > 0.03
    pairs = {mix_skin(studio.skin_ground, traits, seed).details for seed in range(30)}
    assert len(pairs) > 12


def test_age_deepens_lines(studio, member):
    places = canvas(studio).patch.positions
    x, y, _ = np.moveaxis(places, -1, 0)
    where = (y > 0.035) & (y < 0.06) & (np.abs(x) < 0.03)
    young = dataclasses.replace(member.traits, **PLAIN, forehead_lines=0.0, age=0.0)
    old = dataclasses.replace(young, forehead_lines=1.0)
    rough = [paint(studio, traits, 4)[..., 1][where].astype(float).std() for traits in (young, old)]
    assert rough[1] > rough[0] + 1


def test_smaller_pictures_show_the_same_skin(studio, member):
    full, half = (paint(studio, member.traits, 2, scale=scale)[..., :3] for scale in (1.0, 0.5))
    assert half.shape[0] == round(full.shape[0] / 2)
    difference = cv2.resize(full, half.shape[1::-1], interpolation=cv2.INTER_AREA).astype(float) - half
    assert np.abs(difference.mean((0, 1))).max() < 3 and np.abs(difference).mean() < 9


def test_blotchy_fair_skin_is_red_or_pale_but_not_green(studio, member):
    """Where blotches take blood away, less than a tenth of the face has much less red beside green than the plain tone."""
    traits = dataclasses.replace(
        member.traits, **PLAIN, melanin=0.12, undertone=0.0, blood=0.0, blotches=1.4, pattern=1.3, contour=0.0, skin_contrast=0.0,
        lid_red=0.0,
    )  # fmt: skip
    soft = studio.soft_regions
    face = (soft["face"] > 0.5) & (soft["lips"] + soft["eye_sockets"] + soft["mouth_interior"] + soft["ears"] < 0.1)
    red, green, _ = np.log(skin_tone(traits))
    for seed in range(4):
        fields = mix_skin(studio.skin_ground, traits, seed).fields[face]
        assert np.quantile((fields[:, 0] - fields[:, 1]) - (red - green), 0.1) > -0.17


def test_the_white_of_the_eye_is_duller_with_age_and_pigment(member):
    def white(**changes):
        picture = paint_eye(dataclasses.replace(member.traits, **changes), 3, 0.012)
        return picture[60:70, 100:110, :3].mean()

    fair, dark, old = white(age=0.1, melanin=0.1), white(age=0.1, melanin=0.9), white(age=0.9, melanin=0.1)
    assert dark < fair - 5 and old < fair - 5
    assert fair < 0.78 * 255
