from __future__ import annotations

import dataclasses

import numpy as np

from sheap.people.skin import paint_skin


def canvas(stage, name="face"):
    return next(c for c in stage.canvases if c.patch.name == name)


def mean_color(texture, mask):
    return texture[..., :3][mask].astype(float).mean(0)


def test_patches_cover_the_skin_and_know_where_they_are(stage):
    covered = np.concatenate([c.patch.faces for c in stage.canvases])
    skin = (stage.soft_regions["skin"] > 0.5)[stage.faces].all(1)
    assert np.array_equal(np.sort(covered), np.flatnonzero(skin))
    patch = canvas(stage).patch
    # A texel at a vertex's UV holds that vertex's place.
    height, width = patch.shape
    corners = stage.template[stage.faces[patch.faces]]
    x = np.clip((patch.corner_uv[..., 0] * width).astype(int), 0, width - 1)
    y = np.clip((patch.corner_uv[..., 1] * height).astype(int), 0, height - 1)
    distance = np.linalg.norm(patch.positions[y, x] - corners, axis=-1)
    assert np.median(distance) < 0.0008 and np.quantile(distance, 0.99) < 0.004


def test_lips_are_redder_brows_darker_and_melanin_darkens(stage, member):
    face = canvas(stage)
    plain = dataclasses.replace(
        member.traits, melanin=0.2, beard="none", hair_style="bald", lip_color=0.8, makeup=0.0, freckles=0.0,
        hair_color=(0.1, 0.08, 0.07), brow_density=0.9,
    )  # fmt: skip
    texture = paint_skin(face, plain, 1)
    places, regions = face.patch.positions, face.patch.regions
    cheek = (np.abs(np.abs(places[..., 0]) - 0.045) < 0.01) & (np.abs(places[..., 1] + 0.03) < 0.01)
    lips = regions["lips"] > 0.9
    brow = (np.abs(np.abs(places[..., 0]) - 0.035) < 0.006) & (np.abs(places[..., 1] - 0.0205) < 0.0015)
    skin, lip, hair = (mean_color(texture, mask) for mask in (cheek, lips, brow))
    assert lip[1] / lip[0] < skin[1] / skin[0] - 0.04
    assert hair.mean() < 0.75 * skin.mean()
    dark = paint_skin(face, dataclasses.replace(plain, melanin=0.9), 1)
    assert mean_color(dark, cheek).mean() < 0.6 * skin.mean()


def test_neighbouring_patches_meet_in_colour(stage, member):
    traits = dataclasses.replace(member.traits, hair_style="bald", beard="none")
    face, skull = canvas(stage), canvas(stage, "skull")
    pictures = {c.patch.name: paint_skin(c, traits, 3)[..., :3].astype(float) for c in (face, skull)}

    def by_vertex(c):
        height, width = c.patch.shape
        x = np.clip((c.patch.corner_uv[..., 0] * width).astype(int), 0, width - 1)
        y = np.clip((c.patch.corner_uv[..., 1] * height).astype(int), 0, height - 1)
        return dict(zip(stage.faces[c.patch.faces].ravel(), pictures[c.patch.name][y, x].reshape(-1, 3)))

    one, other = by_vertex(face), by_vertex(skull)
    shared = sorted(set(one) & set(other))
    assert len(shared) > 30
    difference = np.array([one[v] - other[v] for v in shared])
    assert np.abs(difference.mean(0)).max() < 6 and np.median(np.abs(difference)) < 12


def test_skin_follows_its_seed(stage, member):
    face = canvas(stage)
    first, again, other = (paint_skin(face, member.traits, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
