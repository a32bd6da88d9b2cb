"""The compiled closest-point search against the plain one, and the geometry both must get right."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from sheap.evaluation.closest_point import CHUNK_POINTS, SLIVER_RATIO, TriangleTree, closest_points_reference

# Measured: 3e-13 mm, at distances of metres.
TOLERANCE_MM = 1e-11


def random_queries(mesh_vertices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Near, on, inside and far from the surface."""
    rng = np.random.default_rng(seed)
    picked = mesh_vertices[rng.integers(len(mesh_vertices), size=count)]
    spread = rng.choice([0.0, 0.1, 5.0, 80.0, 2000.0], size=(count, 1))
    return picked + spread * rng.normal(size=(count, 3))


def test_fast_equals_slow(prediction) -> None:
    vertices = 1000 * prediction.vertices
    points = random_queries(vertices, 150, 0)
    fast = TriangleTree(vertices, prediction.faces).query(points)
    slow = closest_points_reference(vertices, prediction.faces, points)
    np.testing.assert_allclose(fast.distances, slow.distances, atol=TOLERANCE_MM)
    np.testing.assert_allclose(fast.points, slow.points, atol=TOLERANCE_MM)


def test_fast_equals_trimesh(prediction) -> None:
    vertices = 1000 * prediction.vertices
    points = random_queries(vertices, 100, 1)
    mesh = trimesh.Trimesh(vertices, prediction.faces, process=False)
    _, distances, _ = trimesh.proximity.closest_point_naive(mesh, points)
    np.testing.assert_allclose(TriangleTree(vertices, prediction.faces).query(points).distances, distances, atol=1e-8)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.2, 0.3, 0.7), (0.2, 0.3, 0.0)),  # above the face
        ((-1.0, -1.0, 0.5), (0.0, 0.0, 0.0)),  # beyond corner a
        ((2.0, -0.5, 0.0), (1.0, 0.0, 0.0)),  # beyond corner b
        ((-0.5, 3.0, -1.0), (0.0, 1.0, 0.0)),  # beyond corner c
        ((0.4, -2.0, 1.0), (0.4, 0.0, 0.0)),  # beyond edge ab
        ((-2.0, 0.6, 1.0), (0.0, 0.6, 0.0)),  # beyond edge ca
        ((1.0, 1.0, 0.0), (0.5, 0.5, 0.0)),  # beyond edge bc
    ],
)
def test_every_region_of_a_triangle(point: tuple[float, ...], expected: tuple[float, ...]) -> None:
    vertices, faces = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])
    for search in (TriangleTree(vertices, faces).query, lambda p: closest_points_reference(vertices, faces, p)):
        found = search(np.array([point]))
        np.testing.assert_allclose(found.points[0], expected, atol=1e-15)
        np.testing.assert_allclose(found.distances[0], np.linalg.norm(np.subtract(point, expected)), atol=1e-15)


def test_faces_without_area_count_as_segments_and_points() -> None:
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [1, 0, 0], [5, 5, 5]])
    faces = np.array([[0, 1, 2], [3, 3, 3], [0, 0, 1]])
    tree = TriangleTree(vertices, faces)
    points = np.array([[1.5, 3.0, 0.0], [6.0, 5.0, 5.0], [-1.0, 0.0, 0.0]])
    assert tree.num_degenerate == 3
    np.testing.assert_allclose(tree.query(points).distances, [3.0, 1.0, 1.0])
    np.testing.assert_allclose(closest_points_reference(vertices, faces, points).distances, [3.0, 1.0, 1.0])


def test_a_sliver_is_one_wherever_it_lies_and_by_its_longest_edge() -> None:
    """Thinner than SLIVER_RATIO of the longest edge squared, here the one from the last corner to the first."""
    for height, expected in ((0.0, 1), (2 * SLIVER_RATIO, 1), (6 * SLIVER_RATIO, 0)):
        flat = np.array([[0.0, 0, 0], [1, height, 0], [2, 0, 0]])
        assert TriangleTree(flat, np.array([[0, 1, 2]])).num_degenerate == expected
    away = np.array([[1.0, 2, 3], [3, 2, 3], [2, 2, 3], [1, 5, 3]])
    assert TriangleTree(away, np.array([[0, 1, 2], [0, 1, 3]])).num_degenerate == 1


def test_thin_needles_agree_with_the_slow_search() -> None:
    rng = np.random.default_rng(3)
    start = rng.normal(size=(200, 3))
    along = rng.normal(size=(200, 3))
    thickness = 10.0 ** rng.uniform(-14, -3, size=(200, 1))
    corners = np.stack([start, start + along, start + 0.5 * along + thickness * rng.normal(size=(200, 3))], 1)
    vertices, faces = corners.reshape(-1, 3), np.arange(600).reshape(-1, 3)
    points = rng.normal(size=(300, 3)) * 1.5
    fast, slow = TriangleTree(vertices, faces).query(points), closest_points_reference(vertices, faces, points)
    # Measured 4e-16; a needle thinner than SLIVER_RATIO may differ by its thickness.
    np.testing.assert_allclose(fast.distances, slow.distances, atol=1e-12)


def test_threads_do_not_change_a_bit(scan) -> None:
    tree = TriangleTree(scan.vertices, scan.faces)
    points = random_queries(scan.vertices, 3 * CHUNK_POINTS + 7, 4)
    one, two = tree.query(points, 1), tree.query(points, 2)
    np.testing.assert_array_equal(one.distances, two.distances)
    np.testing.assert_array_equal(one.faces, two.faces)


def test_many_equal_faces_do_not_overflow_the_search() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    faces = np.tile([[0, 1, 2]], (5000, 1))
    assert TriangleTree(vertices, faces).query(np.array([[0.2, 0.2, 2.0]])).distances[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.zeros((0, 3)), np.zeros((1, 3), int), "vertices: expected"),
        (np.zeros((3, 2)), np.zeros((1, 3), int), "vertices: expected"),
        (np.zeros((3, 3)), np.zeros((0, 3), int), "faces: expected"),
        (np.zeros((3, 3)), np.zeros((1, 3)), "faces: expected integers"),
        (np.full((3, 3), np.nan), np.zeros((1, 3), int), "3 of 3 are NaN"),
        (np.zeros((3, 3)), np.array([[0, 1, 3]]), "indices run from 0 to 3, but there are 3"),
        (np.zeros((3, 3)), np.array([[0, 1, -1]]), "indices run from -1"),
    ],
)
def test_malformed_meshes_are_named(vertices: np.ndarray, faces: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TriangleTree(vertices, faces)


def test_malformed_queries_are_named(scan) -> None:
    tree = TriangleTree(scan.vertices, scan.faces)
    with pytest.raises(ValueError, match=r"points: expected \[P,3\]"):
        tree.query(np.zeros(3))
    with pytest.raises(ValueError, match="points: NaN"):
        tree.query(np.full((1, 3), np.nan))
