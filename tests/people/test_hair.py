from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sheap.people.face_places import hairline_height
from sheap.people.person import Person
from sheap.people.traits import HAIR_STYLES


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_style_grows_on_the_scalp_and_leaves_the_face_free(style, stage, member):
    traits = dataclasses.replace(member.traits, hair_style=style, beard="none")
    person = Person(stage, member.shape, traits, member.looks_seed)
    hair = [piece for piece in person.hair if piece.name in ("hair", "bun")]
    assert bool(hair) == (style != "bald")
    for piece in hair:
        assert np.isfinite(piece.vertices).all() and np.isfinite(piece.normals).all()
        assert piece.faces.max() < len(piece.vertices)
        roots = (stage.template[piece.anchors] * piece.weights[..., None]).sum(1)
        receded = 1.0 if style == "receding" else 0.0
        assert hairline_height(roots, receded=receded).min() > -0.012
        # Nothing hangs before eyes, nose or mouth.
        x, y, z = piece.vertices[np.unique(piece.faces)].T
        before_face = (np.abs(x) < 0.025) & (y < 0.005) & (y > -0.1) & (z > 0.06)
        assert before_face.mean() < 0.004


def test_hair_stays_outside_the_skull(stage, member):
    traits = dataclasses.replace(member.traits, hair_style="medium", beard="none")
    person = Person(stage, member.shape, traits, member.looks_seed)
    hair = next(piece for piece in person.hair if piece.name == "hair")
    scalp = person.rest[(stage.soft_regions["scalp"] > 0.5) & (stage.template[:, 1] > 0.03)]
    centre = np.array([0, 0.018, -0.018])
    smallest = np.linalg.norm(scalp - centre, axis=1).min()
    above = hair.vertices[hair.vertices[:, 1] > 0.03]
    assert np.quantile(np.linalg.norm(above - centre, axis=1), 0.01) > smallest


def test_lashes_sit_on_the_lids(stage, person):
    lashes = next(piece for piece in person.hair if piece.name == "lashes")
    lid = person.rest[stage.upper_lids]
    distance = np.linalg.norm(lashes.roots[:, None] - lid[None], axis=-1).min(1)
    assert distance.max() < 0.004
    assert np.linalg.norm(lashes.vertices - lashes.roots, axis=1).max() < 0.014
