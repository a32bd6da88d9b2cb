"""Who exists: every person has a role and a number, and all of them follow from one seed. Roles never share a
person."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sheap.head.model import HeadModel
from sheap.people.demographics import Demographics, sample_demographics
from sheap.people.population import draw_shape
from sheap.people.traits import Traits, sample_traits

ROLES = {"train": 1, "validation": 2, "benchmark": 3}


@dataclass(frozen=True)
class CastMember:
    """name; role; seed_path: what their random numbers are seeded with; demographics: who they are; shape [S]: identity
    coefficients; traits: their looks; looks_seed."""

    name: str
    role: str
    seed_path: tuple[int, int, int]
    demographics: Demographics
    shape: NDArray[np.float32]
    traits: Traits
    looks_seed: int

    def rng(self, purpose: int) -> np.random.Generator:
        """Random numbers of this person for one purpose (1 and up), independent of all others."""
        return np.random.default_rng([*self.seed_path, purpose])


def cast_member(seed: int, role: str, index: int, head: HeadModel | int) -> CastMember:
    """Person `index` of a role, with a shape of the head model's population that goes with who they are.

    head: the model, or the open head by its number of shape coefficients. Raises ValueError for another number or role.
    """
    if role not in ROLES:
        raise ValueError(f"role: '{role}' is unknown (known: {', '.join(ROLES)})")
    if isinstance(head, int):
        if head != _open_head().num_shape:
            raise ValueError(f"head: the open head has {_open_head().num_shape} shape coefficients, not {head}; give the model")
        head = _open_head()
    path = (seed, ROLES[role], index)
    rng = np.random.default_rng(path)
    demographics = sample_demographics(rng)
    shape = draw_shape(head, demographics, rng)
    traits = sample_traits(rng, demographics)
    return CastMember(f"{role}-{index:04d}", role, path, demographics, shape, traits, int(rng.integers(2**31)))


@cache
def _open_head() -> HeadModel:
    return HeadModel.load()
