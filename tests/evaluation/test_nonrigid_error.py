"""The estimator with non-rigid alignment: zero where nothing is wrong, and not fooled by sliding along the surface."""

from __future__ import annotations

import numpy as np
import pytest

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.nonrigid_error import bend_by_landmarks, bend_onto, graph_laplacian, nonrigid_errors
from sheap.evaluation.now.metric import evaluate_pair
from sheap.evaluation.similarity import procrustes, rodrigues


def estimate(scan, prediction, **keywords) -> np.ndarray:
    tree = TriangleTree(scan.vertices, scan.faces)
    return nonrigid_errors(
        tree, scan.landmarks, prediction.vertices, prediction.faces, prediction.landmarks, scan.landmarks, **keywords
    )


def changed(head, **fields):
    return type(head)(**{**{"vertices": head.vertices, "faces": head.faces, "landmarks": head.landmarks}, **fields})


def test_the_scan_itself_has_no_error_in_any_frame_and_unit(scan) -> None:
    # Landmarks on the mesh: those of the made-up head float a little above its triangles.
    on_mesh = changed(scan, landmarks=TriangleTree(scan.vertices, scan.faces).query(scan.landmarks).points)
    moved = on_mesh.moved(1e-3, rodrigues(np.array([0.5, 2.0, -1.0])), np.array([0.1, 0.2, 0.3]))
    for bending in ("icp", "spline"):
        errors = estimate(on_mesh, moved, bending=bending)
        assert len(errors) > 300
        assert errors.max() < 1e-9


def test_sliding_along_the_surface_is_seen_where_nearest_points_see_nothing(scan) -> None:
    """A face turned by 6 degrees within its own surface: landmarks and all points are 10 mm off where they belong."""
    turn = rodrigues(np.array([0.0, 0.0, 0.1]))
    tree = TriangleTree(scan.vertices, scan.faces)
    slid = changed(
        scan,
        vertices=tree.query(np.where(scan.vertices[:, :1] > 0, scan.vertices @ turn.T, scan.vertices)).points,
        landmarks=tree.query(np.where(scan.landmarks[:, :1] > 0, scan.landmarks @ turn.T, scan.landmarks)).points,
    )
    now = evaluate_pair(*(scan.vertices, scan.faces, scan.landmarks), *(slid.vertices, slid.faces, slid.landmarks)).distances
    assert estimate(scan, slid).mean() > 3 * now.mean()


def test_bending_reaches_the_scan_and_its_landmarks(scan, prediction) -> None:
    tree = TriangleTree(scan.vertices, scan.faces)
    fit = procrustes(scan.landmarks, prediction.landmarks)
    vertices, landmarks = fit.apply(prediction.vertices), fit.apply(prediction.landmarks)
    bent = bend_onto(tree, vertices, prediction.faces, landmarks, scan.landmarks)
    assert tree.query(bent).distances.mean() < 0.25 * tree.query(vertices).distances.mean()
    # Neighbours moved alike: edges keep their length within a few percent.
    edges = prediction.faces[:, [0, 1]]
    length = [np.linalg.norm(np.diff(points[edges], axis=1)[:, 0], axis=1) for points in (vertices, bent)]
    assert np.median(np.abs(length[1] / length[0] - 1)) < 0.05


def test_a_spline_goes_through_its_landmarks_and_keeps_affine_maps(scan) -> None:
    rng = np.random.default_rng(0)
    targets = scan.landmarks + rng.normal(0, 3, scan.landmarks.shape)
    np.testing.assert_allclose(bend_by_landmarks(scan.landmarks, scan.landmarks, targets), targets, atol=1e-8)
    affine = np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    bent = bend_by_landmarks(scan.vertices, scan.landmarks, scan.landmarks @ affine.T + 5)
    np.testing.assert_allclose(bent, scan.vertices @ affine.T + 5, atol=1e-6)


def test_laplacian_sums_squared_differences(scan) -> None:
    laplacian = graph_laplacian(scan.faces, len(scan.vertices))
    values = np.random.default_rng(0).normal(size=len(scan.vertices))
    edges = {tuple(sorted(pair)) for face in scan.faces.tolist() for pair in zip(face, face[1:] + face[:1])}
    expected = sum((values[a] - values[b]) ** 2 for a, b in edges)
    assert values @ (laplacian @ values) == pytest.approx(expected)
    np.testing.assert_allclose(laplacian @ np.ones(len(values)), 0, atol=1e-12)


def test_what_no_scanner_sees_does_not_count(scan, prediction) -> None:
    surface = prediction.vertices[:, 0] > np.median(prediction.vertices[:, 0])
    with pytest.raises(ValueError, match="none near the scan's face"):
        estimate(scan, prediction, surface=np.zeros(len(prediction.vertices), bool))
    assert len(estimate(scan, prediction, surface=surface)) < len(estimate(scan, prediction))


def test_other_landmarks_are_named(scan, prediction) -> None:
    with pytest.raises(ValueError, match="predicted_landmarks: expected the scan's"):
        estimate(scan, changed(prediction, landmarks=prediction.landmarks[:5]))
    with pytest.raises(ValueError, match="predicted vertices: 926 of 926 are NaN"):
        estimate(scan, changed(prediction, vertices=prediction.vertices * np.nan))
