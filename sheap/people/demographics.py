"""Who a person is before anything is known of their face: sex, age, weight and ancestry. Shape and looks follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head.data import TRAIT_NAMES

ANCESTRIES = ("african", "asian", "european")


@dataclass(frozen=True)
class Demographics:
    """sex: "female" or "male"; age_years; weight: body mass in standard deviations of the population (0: average);
    ancestry: shares of ANCESTRIES, which sum to 1."""

    sex: str
    age_years: float
    weight: float
    ancestry: tuple[float, float, float]


FEMALE_SHARE = 0.5
AGE_RANGE = (18.0, 80.0)
"""Ages are triangular over this range with their peak at YOUNG_PEAK: videos show more young adults than old ones."""
YOUNG_PEAK = 28.0
MIXED_SHARE = 0.25
"""Share of people with ancestors of more than one region; the others have one, each as often."""


def sample_demographics(rng: np.random.Generator) -> Demographics:
    """One person, drawn from the frequencies above."""
    sex = "female" if rng.random() < FEMALE_SHARE else "male"
    age = float(rng.triangular(AGE_RANGE[0], YOUNG_PEAK, AGE_RANGE[1]))
    if rng.random() < MIXED_SHARE:
        shares = rng.dirichlet(np.ones(len(ANCESTRIES)))
    else:
        shares = np.eye(len(ANCESTRIES))[rng.integers(len(ANCESTRIES))]
    african, asian, european = (round(float(share), 4) for share in shares)
    return Demographics(sex, age, float(rng.normal()), (african, asian, european))


def trait_values(person: Demographics) -> NDArray[np.float64]:
    """A person's traits in the order of `TRAIT_NAMES`, standardised: mean 0 and variance 1 over the population."""
    low, peak, high = AGE_RANGE[0], YOUNG_PEAK, AGE_RANGE[1]
    spread = (low**2 + peak**2 + high**2 - low * peak - low * high - peak * high) / 18
    male = (1.0 if person.sex == "male" else 0.0) - (1 - FEMALE_SHARE)
    values = {
        "male": male / np.sqrt(FEMALE_SHARE * (1 - FEMALE_SHARE)),
        "age": (person.age_years - (low + peak + high) / 3) / np.sqrt(spread),
        "weight": person.weight,
    }
    for name, share in zip(ANCESTRIES, person.ancestry, strict=True):
        values[name] = (share - 1 / len(ANCESTRIES)) / np.sqrt(_share_variance())
    return np.array([values[name] for name in TRAIT_NAMES])


def trait_covariance() -> NDArray[np.float64]:
    """Covariance [T, T] of `trait_values` over the population: the shares of ancestry sum to one, all else is
    independent."""
    count = len(ANCESTRIES)
    out = np.eye(len(TRAIT_NAMES))
    rows = [TRAIT_NAMES.index(name) for name in ANCESTRIES]
    out[np.ix_(rows, rows)] = (count * np.eye(count) - 1) / (count - 1)
    return out


def _share_variance() -> float:
    """Variance of one ancestry's share: all or nothing in most people, uniform over the simplex in the others."""
    count = len(ANCESTRIES)
    pure = (count - 1) / count**2
    return (1 - MIXED_SHARE) * pure + MIXED_SHARE * pure / (count + 1)
