"""Shared by the tests of rendered people: one studio a session, one thread."""

from __future__ import annotations

import pytest

from sheap.people.cast import CastMember, cast_member
from sheap.people.person import Person
from sheap.people.studio import Studio, shared_studio


@pytest.fixture(scope="session")
def studio() -> Studio:
    return shared_studio()


@pytest.fixture(scope="session")
def member(studio: Studio) -> CastMember:
    return cast_member(11, "train", 3, studio.head)


@pytest.fixture(scope="session")
def person(studio: Studio, member: CastMember) -> Person:
    return Person(studio, member.shape, member.traits, member.looks_seed)
