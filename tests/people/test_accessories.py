from __future__ import annotations

import numpy as np
import pytest
import torch

from sheap.head.params import HeadParams
from sheap.people.accessories import KINDS
from sheap.people.filming import look_at
from sheap.people.lighting import sample_lighting
from sheap.people.person import Person

COVERED = {
    "glasses": (0.002, 0.25),
    "sunglasses": (0.05, 0.5),
    "mask": (0.2, 0.7),
    "scarf": (0.0, 0.6),
    "cap": (0.0, 0.4),
    "hand": (0.02, 0.7),
    "phone": (0.02, 0.8),
    "cup": (0.05, 0.6),
}
"""How much of the face's skin each may hide from the front: something, not everything."""


def skin_seen(person: Person, studio) -> np.ndarray:
    """Pixels of a frontal view that show face skin or eyes."""
    matrix = look_at(np.array([0, -0.01, 1.0]), np.array([0, -0.01, 0.0]), 0.0)
    K = np.array([[700, 0, 80], [0, 700, 80], [0, 0, 1]], np.float32)
    light = sample_lighting(np.random.default_rng(0))
    seen = person.render(HeadParams.zeros(studio.head), matrix, K, 160, 160, light)
    names = np.array([piece.name for piece in person.scene.pieces] + ["none"])
    return np.isin(names[seen.piece_ids], ("skin face", "eye left", "eye right"))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_thing_hides_part_of_the_face(kind, studio, member, person):
    wearing = Person(studio, member.shape, member.traits, member.looks_seed, (kind,))
    bare, covered = skin_seen(person, studio), skin_seen(wearing, studio)
    hidden = (bare & ~covered).sum() / bare.sum()
    low, high = COVERED[kind]
    assert low <= hidden <= high
    assert not np.array_equal(bare, covered) or kind in ("scarf", "cap")


def test_things_move_with_the_head(studio, member):
    person = Person(studio, member.shape, member.traits, member.looks_seed, ("glasses",))
    light = sample_lighting(np.random.default_rng(0))
    rest = HeadParams.zeros(studio.head)
    turned = rest.replace(neck_rotvec=torch.tensor([0.0, 0.6, 0.0]), translation=torch.tensor([0.1, 0.0, 0.0]))
    start, moved = (person.pose_blocks(*person.pose(params), light) for params in (rest, turned))
    eye = studio.head.region_masks["eyeball_left"].numpy()
    for block in ("glasses frame",):
        before = np.linalg.norm(start[block].vertices[:, None] - start["head"].vertices[eye].mean(0), axis=-1)
        after = np.linalg.norm(moved[block].vertices[:, None] - moved["head"].vertices[eye].mean(0), axis=-1)
        assert np.abs(before - after).max() < 5e-4
        assert np.linalg.norm(moved[block].vertices - start[block].vertices, axis=-1).min() > 0.02


def test_an_unknown_thing_is_named(studio, member):
    with pytest.raises(ValueError, match="monocle"):
        Person(studio, member.shape, member.traits, member.looks_seed, ("monocle",))
