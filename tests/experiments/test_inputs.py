"""What further inputs tell: the regression against its slow form, and on inputs whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.inputs import DESCRIPTOR, LANDMARKS, People, corrected, error, left_out_error
from sheap.head import HeadModel


@pytest.fixture(scope="module")
def people() -> People:
    """Shapes of eight numbers, told with noise; the descriptor knows four of them, landmarks know nothing."""
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((120, 8))
    return People(
        shapes,
        0.5 * shapes[:, None] + 0.3 * rng.standard_normal((120, 3, 8)),
        {
            DESCRIPTOR: np.repeat(shapes[:, None, :4], 3, 1) @ rng.standard_normal((4, 30)),
            LANDMARKS: rng.standard_normal((120, 3, 40)),
        },
    )


def squared(found: np.ndarray, people: People) -> float:
    return float(((found - people.shapes) ** 2).mean())


def test_an_input_takes_off_what_it_knows(people: People) -> None:
    plain = squared(people.predicted[:, 0], people)
    own = squared(corrected(people, (), 1), people)
    knowing = squared(corrected(people, (DESCRIPTOR,), 1), people)
    ignorant = squared(corrected(people, (LANDMARKS,), 1), people)
    assert own < 0.95 * plain, "shrunk by half, which a regression mends"
    assert knowing < 0.65 * own, "half of the numbers are known"
    assert own < ignorant < 1.3 * own, "numbers that say nothing cost a little"
    assert squared(corrected(people, (), 3), people) < own, "three photos tell more than one"


def test_leaving_one_out_is_what_it_says() -> None:
    rng = np.random.default_rng(1)
    features, wanted = rng.standard_normal((12, 5)), rng.standard_normal((12, 3))
    left = []
    for k in range(12):
        others = np.arange(12) != k
        x, y = features[others], wanted[others]
        weights = x.T @ np.linalg.solve(x @ x.T + 2.0 * np.eye(11), y)
        left.append(wanted[k] - features[k] @ weights)
    assert left_out_error(features @ features.T, wanted, 2.0) == pytest.approx(float((np.stack(left) ** 2).mean()))


def test_the_mean_head_has_an_error_of_one() -> None:
    head = HeadModel.load()
    true = np.random.default_rng(2).standard_normal((3, head.num_shape))
    assert error(head, np.zeros_like(true), true) == pytest.approx(1.0)
    assert error(head, true, true) < 1e-3
