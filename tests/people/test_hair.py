from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sheap.people import hair
from sheap.people.cast import cast_member
from sheap.people.face_places import hairline_form, hairline_height
from sheap.people.person import Person
from sheap.people.traits import HAIR_STYLES


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_style_grows_on_the_scalp_and_leaves_the_face_free(style, studio, member, monkeypatch):
    monkeypatch.setattr(hair, "_MODELLED_SHARE", 0.0)
    traits = dataclasses.replace(member.traits, hair_style=style, beard="none")
    person = Person(studio, member.shape, traits, member.looks_seed)
    grown = [piece for piece in person.hair if piece.name in ("hair", "bun")]
    assert bool(grown) == (style != "bald")
    for piece in grown:
        assert np.isfinite(piece.vertices).all() and np.isfinite(piece.normals).all()
        assert piece.faces.max() < len(piece.vertices)
        shown = np.unique(piece.faces)
        roots = (studio.template[piece.anchors[shown]] * piece.weights[shown, :, None]).sum(1)
        receded = 1.0 if style == "receding" else traits.receded
        peak, corners = hairline_form(roots)
        own = traits.hairline_shift - traits.hairline_peak * peak + traits.hairline_corners * corners
        assert (hairline_height(roots, receded=receded) - own).min() > -0.012
        # Nothing hangs before eyes, nose or mouth.
        x, y, z = piece.vertices[shown].T
        before_face = (np.abs(x) < 0.025) & (y < 0.005) & (y > -0.1) & (z > 0.06)
        assert before_face.mean() < 0.004


def test_hair_stays_outside_the_skull(studio, member, monkeypatch):
    monkeypatch.setattr(hair, "_MODELLED_SHARE", 0.0)
    traits = dataclasses.replace(member.traits, hair_style="medium", beard="none")
    person = Person(studio, member.shape, traits, member.looks_seed)
    grown = next(piece for piece in person.hair if piece.name == "hair")
    scalp = person.rest[(studio.soft_regions["scalp"] > 0.5) & (studio.template[:, 1] > 0.03)]
    centre = np.array([0, 0.018, -0.018])
    smallest = np.linalg.norm(scalp - centre, axis=1).min()
    above = grown.vertices[grown.vertices[:, 1] > 0.03]
    assert np.quantile(np.linalg.norm(above - centre, axis=1), 0.01) > smallest


def test_lashes_sit_on_the_lids(studio, person):
    lashes = next(piece for piece in person.hair if piece.name == "lashes")
    lid = person.rest[studio.upper_lids]
    distance = np.linalg.norm(lashes.roots[:, None] - lid[None], axis=-1).min(1)
    assert distance.max() < 0.004
    assert np.linalg.norm(lashes.vertices - lashes.roots, axis=1).max() < 0.014


@pytest.mark.parametrize("style", sorted(hair._MODELLED))
def test_modelled_hair_sits_on_every_head(style, studio, monkeypatch):
    """Modelled hair of people of other shapes follows them: it keeps its distance from the skull."""
    monkeypatch.setattr(hair, "_MODELLED_SHARE", 1.0)
    centre = np.array([0, 0.018, -0.018])
    for index in range(3):
        other = cast_member(5, "train", index, studio.head)
        traits = dataclasses.replace(other.traits, sex="female", hair_style=style, beard="none", receded=0.0)
        person = Person(studio, other.shape, traits, other.looks_seed)
        piece = next(piece for piece in person.hair if piece.name == "hair")
        top = piece.vertices[piece.vertices[:, 1] > 0.09]
        scalp = person.rest[(studio.soft_regions["scalp"] > 0.5) & (studio.template[:, 1] > 0.09)]
        difference = np.linalg.norm(top - centre, axis=1).max() - np.linalg.norm(scalp - centre, axis=1).max()
        assert 0.0 < difference < 0.06


def test_people_of_one_style_share_what_was_grown_but_not_colour_or_fit(studio, member, monkeypatch):
    monkeypatch.setattr(hair, "_MODELLED_SHARE", 0.0)
    traits = dataclasses.replace(member.traits, hair_style="curly", beard="none", hair_color=(0.3, 0.2, 0.1))
    blond = dataclasses.replace(traits, hair_color=(0.7, 0.6, 0.4))
    other = cast_member(5, "train", 1, studio.head)
    one = Person(studio, member.shape, traits, 7)
    two = Person(studio, other.shape, blond, 7)
    first, second = (next(piece for piece in person.hair if piece.name == "hair") for person in (one, two))
    assert first.material.texture is second.material.texture
    assert second.tint.mean() > 2 * first.tint.mean()
    assert np.abs(first.vertices - second.vertices).max() > 0.002


def test_hairlines_have_peaks_and_corners_of_their_own(studio, member, monkeypatch):
    """A peak brings hair down in the middle; corners take it away at the temples."""
    monkeypatch.setattr(hair, "_MODELLED_SHARE", 0.0)
    plain = dataclasses.replace(
        member.traits, hair_style="buzz", beard="none", receded=0.0, hairline_shift=0.0, hairline_peak=0.0, hairline_corners=0.0
    )
    peaked = dataclasses.replace(plain, hairline_peak=0.009, hairline_corners=0.012)
    lowest = []
    for traits in (plain, peaked):
        piece = next(p for p in Person(studio, member.shape, traits, member.looks_seed).hair if p.name == "hair")
        shown = np.unique(piece.faces)
        roots = (studio.template[piece.anchors[shown]] * piece.weights[shown, :, None]).sum(1)
        peak, corners = hairline_form(roots)
        lowest.append((roots[peak > 0.9, 1].min(), roots[corners > 0.9, 1].min()))
    assert lowest[1][0] < lowest[0][0] - 0.004
    assert lowest[1][1] > lowest[0][1] + 0.006


def test_a_beard_has_the_form_and_length_of_its_man(studio, member):
    """Shaved off the cheeks and short, or up them and long."""
    low = dataclasses.replace(
        member.traits, sex="male", beard="full", beard_density=1.0, beard_cheek=0.018, beard_neck=0.0, beard_bare=0.0,
        beard_lip=1.0, beard_length=0.5, beard_color=(0.5, 0.5, 0.5),
    )  # fmt: skip
    high = dataclasses.replace(low, beard_cheek=-0.004, beard_length=2.0)
    shaven = dataclasses.replace(low, beard_lip=0.0)
    pieces = []
    for traits in (low, high, shaven):
        pieces.append(next(p for p in Person(studio, member.shape, traits, member.looks_seed).hair if p.name == "beard"))
    tops, longest, on_lip = [], [], []
    for piece in pieces:
        shown = np.unique(piece.faces)
        roots = (studio.template[piece.anchors[shown]] * piece.weights[shown, :, None]).sum(1)
        cheek = (np.abs(roots[:, 0]) > 0.036) & (np.abs(roots[:, 0]) < 0.050)
        tops.append(np.quantile(roots[cheek, 1], 0.98))
        on_lip.append(int(((np.abs(roots[:, 0]) < 0.02) & (roots[:, 1] > -0.070)).sum()))
        longest.append(np.linalg.norm(piece.vertices - piece.roots, axis=1).max())
    assert tops[1] > tops[0] + 0.010
    assert longest[1] > 3 * longest[0]
    assert on_lip[0] > 100 and on_lip[2] == 0
    assert np.ptp(pieces[0].tint.mean(0)) < 0.1 * pieces[0].tint.mean()
