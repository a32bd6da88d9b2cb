from __future__ import annotations

import numpy as np
import pytest

from sheap.people.demographics import Demographics
from sheap.people.traits import (
    BALDING_SHARE,
    BEARD_SHARES,
    BEARDS,
    DYED_SHARE,
    HAIR_STYLES,
    LIPSTICK_SHARE,
    MAKEUP_SHARE,
    sample_traits,
)

ONLY = {"african": (1.0, 0.0, 0.0), "asian": (0.0, 1.0, 0.0), "european": (0.0, 0.0, 1.0)}
COUNT = 400
MARGIN = 3 * 0.5 / np.sqrt(COUNT)
"""Three standard errors of a share among COUNT people."""


def people(sex="male", age=30.0, ancestry="european", weight=0.0, count=COUNT):
    rng = np.random.default_rng(5)
    return [sample_traits(rng, Demographics(sex, age, weight, ONLY[ancestry])) for _ in range(count)]


def lightness(color):
    return float(np.mean(color))


def test_looks_follow_from_the_generator():
    who = Demographics("female", 40.0, 0.3, (0.2, 0.3, 0.5))
    first, again, other = (sample_traits(np.random.default_rng(seed), who) for seed in (1, 1, 2))
    assert first == again and first != other


@pytest.mark.parametrize("ancestry", ONLY)
def test_beards_are_mens_alone_and_as_frequent_as_set(ancestry):
    women, men = people("female", ancestry=ancestry), people("male", ancestry=ancestry)
    assert {t.beard for t in women} == {"none"} and max(t.beard_shadow for t in women) == 0
    for beard, share in zip(BEARDS, BEARD_SHARES[ancestry]):
        assert abs(np.mean([t.beard == beard for t in men]) - share) < MARGIN


def test_make_up_is_womens_and_as_frequent_as_set():
    women, men = people("female"), people("male")
    assert abs(np.mean([t.makeup > 0 for t in women]) - MAKEUP_SHARE) < MARGIN
    assert abs(np.mean([t.lipstick > 0 for t in women]) - LIPSTICK_SHARE) < MARGIN
    assert all(t.makeup == 0 and t.lipstick == 0 for t in men)


@pytest.mark.parametrize("sex", ["female", "male"])
def test_hair_turns_grey_with_age(sex):
    """Black-haired people: their hair is light when it is grey."""
    shares = [np.mean([lightness(t.hair_color) > 0.3 for t in people(sex, age, "asian")]) for age in (25, 50, 75)]
    coloured = shares[0]
    assert shares[1] > shares[0] + 0.1 and shares[2] > shares[1] + 0.15
    # By 75 nearly all are grey who do not dye it.
    assert abs(shares[2] - (1 - DYED_SHARE[sex] * (1 - coloured))) < 2 * MARGIN


def test_men_lose_hair_with_age():
    receded = [np.mean([t.receded > 0.5 for t in people(age=age)]) for age in (22, 45, 70)]
    assert receded[0] < 0.05 and receded[1] > receded[0] and abs(receded[2] - BALDING_SHARE) < MARGIN
    assert max(t.receded for t in people("female", 75)) < 0.3


def test_skin_eyes_and_hair_lean_on_ancestry():
    melanin = {name: np.array([t.melanin for t in people(ancestry=name)]) for name in ONLY}
    assert melanin["european"].mean() + 0.08 < melanin["asian"].mean() < melanin["african"].mean() - 0.3
    assert min(spread.std() for spread in melanin.values()) > 0.06
    blue = {name: np.mean([t.iris_color[2] > t.iris_color[0] for t in people(ancestry=name)]) for name in ONLY}
    assert blue["european"] > 0.25 and blue["african"] == blue["asian"] == 0
    light = {name: np.mean([lightness(t.hair_color) > 0.2 for t in people(ancestry=name)]) for name in ONLY}
    assert light["european"] > light["asian"] + 0.3
    afro = {name: np.mean([t.hair_style == "afro" for t in people(ancestry=name)]) for name in ONLY}
    assert afro["african"] > 0.05 and afro["asian"] == afro["european"] == 0


def test_mixed_skin_lies_between():
    rng = np.random.default_rng(1)
    mixed = np.mean([sample_traits(rng, Demographics("male", 30, 0, (0.5, 0.0, 0.5))).melanin for _ in range(COUNT)])
    assert np.mean([t.melanin for t in people()]) + 0.15 < mixed
    assert mixed < np.mean([t.melanin for t in people(ancestry="african")]) - 0.15


def test_brows_lines_and_clothes_lean_on_sex_and_age():
    women, men, old = people("female"), people("male"), people("male", 75)
    assert np.mean([t.brow_thickness for t in men]) > np.mean([t.brow_thickness for t in women]) + 0.0008
    for line in ("forehead_lines", "frown_lines", "fold_lines", "mouth_lines", "eye_bags"):
        assert np.mean([getattr(t, line) for t in old]) > np.mean([getattr(t, line) for t in men]) + 0.08
    assert not any(t.neckline == "scoop" for t in men)
    assert {t.hair_style for t in women + men + old} >= set(HAIR_STYLES) - {"afro"}


@pytest.mark.parametrize("sex", ["female", "male"])
def test_brows_differ_as_much_as_in_life(sex):
    """Brows are what a face recogniser tells people apart by most of all that is not shape."""
    crowd = people(sex)
    assert np.std([t.brow_height for t in crowd]) > 0.003 and np.ptp([t.brow_height for t in crowd]) < 0.017
    gaps = [t.brow_gap for t in crowd]
    assert np.std(gaps) > 0.0025 and np.mean(np.array(gaps) < 0.004) < 0.05
    assert np.std([t.brow_thickness for t in crowd]) > 0.0015 and min(t.brow_thickness for t in crowd) > 0.0015
    assert np.std([t.brow_density for t in crowd]) > 0.22


def test_forms_of_hairlines_and_beards_differ_and_change_nothing_else():
    men = people()
    for name, least in (("beard_cheek", 0.004), ("beard_neck", 0.003), ("beard_width", 0.004), ("beard_bare", 0.2),
                        ("hairline_corners", 0.003)):  # fmt: skip
        assert np.std([getattr(t, name) for t in men]) > least
    assert abs(np.mean([t.hairline_peak > 0 for t in men]) - 0.35) < MARGIN
    lengths = np.log([t.beard_length for t in men])
    assert 0.3 < lengths.std() < 0.6 and np.mean([t.beard_lip < 1 for t in men if t.beard == "full"]) > 0.03
    # Forms come from random numbers of their own: the next person is who they would have been.
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    who = Demographics("male", 40.0, 0.0, ONLY["european"])
    first = sample_traits(rng, who)
    other.spawn(1)
    second = sample_traits(other, who)
    assert first.beard_cheek != second.beard_cheek and first.brow_gap == second.brow_gap
    assert rng.random() == other.random()


def test_beards_turn_grey_before_heads():
    old, young = people(age=58), people(age=25)
    lighter = [np.mean([lightness(t.beard_color) - lightness(t.hair_color) for t in crowd]) for crowd in (old, young)]
    assert lighter[0] > lighter[1] + 0.02
