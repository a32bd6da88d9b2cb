"""Shared by the tests of rendered people: one stage set a session, one thread."""

from __future__ import annotations

import pytest

from sheap.people.cast import CastMember, cast_member
from sheap.people.person import Person
from sheap.people.stage_set import StageSet, shared_stage


@pytest.fixture(scope="session")
def stage() -> StageSet:
    return shared_stage()


@pytest.fixture(scope="session")
def member(stage: StageSet) -> CastMember:
    return cast_member(11, "train", 3, stage.head)


@pytest.fixture(scope="session")
def person(stage: StageSet, member: CastMember) -> Person:
    return Person(stage, member.shape, member.traits, member.looks_seed)
