"""The refinement against a slow one written straight from its description.

The slow one moves the mesh, searches all pairs of points and faces, and takes difference quotients.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import cg

from sheap.evaluation.closest_point import TriangleTree, closest_points_reference
from sheap.evaluation.now.crop import face_crop
from sheap.evaluation.now.refinement import ScanToSurface, refine
from sheap.evaluation.similarity import procrustes, rodrigues


@pytest.fixture(scope="module")
def problem(scan, coarse_prediction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cropped scan points (thinned), and a coarse prediction's mesh after Procrustes: small, for the slow search."""
    prediction = coarse_prediction
    points = scan.vertices[face_crop(scan.landmarks).indices(scan.vertices)][::6]
    return points, procrustes(scan.landmarks, prediction.landmarks).apply(prediction.vertices), prediction.faces


def moved(parameters: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    return parameters[0] * vertices @ rodrigues(parameters[1:4]).T + parameters[4:]


def residuals(parameters: np.ndarray, problem) -> np.ndarray:
    points, vertices, faces = problem
    distances = closest_points_reference(moved(parameters, vertices), faces, points).distances
    return np.append(distances, 100 * (abs(parameters[0]) - parameters[0]))


def jacobian(parameters: np.ndarray, problem) -> np.ndarray:
    """Central differences: the residuals are differentiable almost everywhere."""
    columns = []
    for axis in range(7):
        step = np.zeros(7)
        step[axis] = 1e-6
        columns.append((residuals(parameters + step, problem) - residuals(parameters - step, problem)) / 2e-6)
    return np.stack(columns, 1)


def slow_path(problem, free: list[int]) -> list[tuple[np.ndarray, float]]:
    """Every accepted p with its sum of squares, by the schedule's description."""
    p, radius = np.array([1.0, 0, 0, 0, 0, 0, 0]), 0.1
    r, path = residuals(p, problem), []
    while True:
        j = jacobian(p, problem)[:, free]
        a, g = j.T @ j, -j.T @ r
        cauchy = (g @ g) / np.linalg.norm(j @ g) ** 2 * g
        newton = cg(a, g, rtol=1e-5, atol=0.0, maxiter=2000)[0]
        while True:
            if np.linalg.norm(cauchy) >= radius:
                step = radius * cauchy / np.linalg.norm(cauchy)
            elif np.linalg.norm(newton) <= radius:
                step = newton
            else:
                low, high = 0.0, 1.0
                for _ in range(200):
                    beta = (low + high) / 2
                    step = cauchy + beta * (newton - cauchy)
                    low, high = (beta, high) if np.linalg.norm(step) < radius else (low, beta)
            new = p.copy()
            new[free] += step
            new_r = residuals(new, problem)
            gain = r @ r - new_r @ new_r
            ratio = gain / (2 * g @ step - step @ a @ step)
            if ratio > 0.9:
                radius = max(radius, 2.5 * np.linalg.norm(step))
            elif ratio < 0.05:
                radius /= 4
            if gain > 0:
                break
        share = gain / (r @ r)
        p, r = new, new_r
        path.append((p, float(r @ r)))
        if share < 1e-4:
            return path


@pytest.mark.parametrize("with_scale", [True, False])
def test_follows_the_slow_path_step_by_step(problem, with_scale: bool) -> None:
    points, vertices, faces = problem
    fast: list[tuple[np.ndarray, float]] = []
    tree = TriangleTree(vertices, faces)
    result = refine(points, tree, with_scale=with_scale, on_step=lambda p, total: fast.append((p, total)))
    slow = slow_path(problem, list(range(7)) if with_scale else list(range(1, 7)))
    assert len(fast) == len(slow) == result.iterations > 2
    for (p_fast, sum_fast), (p_slow, sum_slow) in zip(fast, slow, strict=True):
        # Measured 9e-7 and 7e-7: the slow Jacobian is a difference quotient.
        np.testing.assert_allclose(p_fast, p_slow, atol=1e-5)
        assert sum_fast == pytest.approx(sum_slow, rel=1e-5)
    assert with_scale == (result.transform.scale != 1.0)


def test_normal_equations_are_the_jacobians(problem) -> None:
    points, vertices, faces = problem
    p = np.array([0.97, 0.05, -0.1, 0.2, 1.0, -2.0, 0.5])
    evaluation = ScanToSurface(points, TriangleTree(vertices, faces)).at(p)
    j, r = jacobian(p, problem), residuals(p, problem)
    np.testing.assert_allclose(evaluation.distances, r[:-1], atol=1e-11)
    # Measured 6e-11 of the largest entry.
    np.testing.assert_allclose(evaluation.normal, j.T @ j, atol=1e-8 * np.abs(j.T @ j).max())
    np.testing.assert_allclose(evaluation.gradient, -j.T @ r, atol=1e-8 * np.abs(j.T @ r).max())


def test_a_negative_scale_is_pushed_back(problem) -> None:
    points, vertices, faces = problem
    p = np.array([-0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    evaluation = ScanToSurface(points, TriangleTree(vertices, faces)).at(p)
    r = residuals(p, problem)
    assert r[-1] == 100.0
    assert evaluation.sum_squares == pytest.approx(r @ r)


def test_warm_starts_and_threads_change_nothing(problem) -> None:
    points, vertices, faces = problem
    tree = TriangleTree(vertices, faces)
    warm = ScanToSurface(points, tree, num_threads=1)
    for shift in (5.0, -3.0, 0.0):
        p = np.array([1.0, 0, 0, 0, shift, 0, 0])
        last, fresh = warm.at(p), ScanToSurface(points, tree, num_threads=2).at(p)
        np.testing.assert_allclose(last.distances, fresh.distances, atol=1e-12)
    repeated = np.tile(points, (20, 1))
    one, two = refine(repeated, tree, 1), refine(repeated, tree, 2)
    np.testing.assert_array_equal(one.distances, two.distances)
    assert one.sums == two.sums


def test_a_mesh_on_itself_stays_put(scan) -> None:
    result = refine(scan.vertices, TriangleTree(scan.vertices, scan.faces))
    assert result.iterations == 0
    assert result.distances.max() == 0.0
