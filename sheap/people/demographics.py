"""Who a person is before anything is known of their face: sex, age, weight and ancestry. Shape and looks follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
