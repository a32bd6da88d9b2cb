"""Procrustes and the Rodrigues rotation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sheap.evaluation.similarity import Similarity, procrustes, rodrigues, rodrigues_left_jacobian


def random_points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(7, 3)) * 40


def test_procrustes_recovers_a_similarity() -> None:
    source = random_points(0)
    truth = Similarity(0.013, rodrigues(np.array([0.4, -1.2, 2.0])), np.array([3.0, -8.0, 500.0]))
    found = procrustes(truth.apply(source), source)
    assert found.scale == pytest.approx(truth.scale, rel=1e-12)
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, truth.translation, atol=1e-9)


def test_procrustes_is_optimal() -> None:
    source, target = random_points(1), random_points(2)
    best = procrustes(target, source, allow_reflection=False)
    least = ((best.apply(source) - target) ** 2).sum()
    rng = np.random.default_rng(3)
    for _ in range(200):
        nearby = Similarity(
            best.scale * (1 + 0.02 * rng.normal()),
            rodrigues(0.02 * rng.normal(size=3)) @ best.rotation,
            best.translation + 0.5 * rng.normal(size=3),
        )
        assert ((nearby.apply(source) - target) ** 2).sum() > least


def test_a_mirrored_set_is_mirrored_only_when_allowed() -> None:
    source = random_points(4)
    target = source * [-1.0, 1.0, 1.0]
    mirrored = procrustes(target, source)
    assert mirrored.is_reflection
    np.testing.assert_allclose(mirrored.apply(source), target, atol=1e-10)
    proper = procrustes(target, source, allow_reflection=False)
    assert not proper.is_reflection
    assert np.abs(proper.apply(source) - target).max() > 1


def test_coinciding_points_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        procrustes(random_points(0), np.ones((7, 3)))


def test_after_composes() -> None:
    rng = np.random.default_rng(5)
    first = Similarity(2.0, rodrigues(rng.normal(size=3)), rng.normal(size=3))
    second = Similarity(0.5, rodrigues(rng.normal(size=3)), rng.normal(size=3))
    points = rng.normal(size=(4, 3))
    np.testing.assert_allclose(second.after(first).apply(points), second.apply(first.apply(points)), atol=1e-14)


@pytest.mark.parametrize("size", [0.0, 1e-13, 1e-7, 1e-3, 1.0, 3.1])
def test_rodrigues_and_its_jacobian(size: float) -> None:
    rng = np.random.default_rng(6)
    rotvec = rng.normal(size=3)
    rotvec *= size / np.linalg.norm(rotvec)
    np.testing.assert_allclose(rodrigues(rotvec), Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-14)
    step = 1e-6 * rng.normal(size=3)
    turned = rodrigues(rodrigues_left_jacobian(rotvec) @ step) @ rodrigues(rotvec)
    # Second order in the step: 1e-12.
    np.testing.assert_allclose(turned, rodrigues(rotvec + step), atol=1e-11)
