from __future__ import annotations

import itertools

import numpy as np
import pytest

from sheap.head import HeadModel
from sheap.people.cast import ROLES, cast_member


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def test_a_person_follows_from_the_seed(head):
    first, again = cast_member(4, "train", 7, head), cast_member(4, "train", 7, head)
    assert first.name == again.name and first.traits == again.traits and first.looks_seed == again.looks_seed
    assert np.array_equal(first.shape, again.shape) and first.demographics == again.demographics
    assert first.rng(1).random() == again.rng(1).random()


def test_no_two_people_share_an_identity_whatever_their_role(head):
    people = [cast_member(seed, role, k, head) for seed in (0, 1) for role in ROLES for k in range(6)]
    assert len({p.seed_path for p in people}) == len(people)
    nearest = min(np.linalg.norm(a.shape - b.shape) for a, b in itertools.combinations(people, 2))
    # Two standard normal draws of 300 numbers lie about sqrt(600) = 24 apart; copies would lie at zero.
    assert nearest > 18
    assert len({p.name for p in people if p.seed_path[0] == 0}) == len(people) // 2


def test_looks_vary(head):
    traits = [cast_member(0, "train", k, head).traits for k in range(200)]
    assert len({t.hair_style for t in traits}) >= 9
    assert {"none", "stubble", "full"} <= {t.beard for t in traits}
    melanin = np.array([t.melanin for t in traits])
    assert (melanin < 0.25).mean() > 0.15 and (melanin > 0.6).mean() > 0.1


def test_an_unknown_role_is_named(head):
    with pytest.raises(ValueError, match="extra"):
        cast_member(0, "extra", 0, head)
