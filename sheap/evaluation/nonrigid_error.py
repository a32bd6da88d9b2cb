"""An error estimator with non-rigid alignment, in the spirit of M3DFB (Sariyanidi et al. 2025, arXiv 2505.18025).

A closest point is no corresponding point: a nose that is drawn too long still lies near some surface. So the prediction
is first bent onto the scan, softly and led by landmarks, only to learn where each of its points belongs; the error is
then measured between those places and the prediction as it was, unbent.

The bending is non-rigid ICP with the vertices' displacements as unknowns: neighbours move alike (a quadratic term whose
weight falls from stiff to soft), vertices move to their closest scan points, landmarks to the scan's landmarks. Each
step is one sparse linear system (Amberg et al. 2007 with translations instead of affine maps). Where a scan has many
landmarks, a thin-plate spline through them does nearly as well, in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.mesh_checks import check_mesh
from sheap.evaluation.now.crop import face_crop
from sheap.evaluation.now.dataset import NowDataset, NowImage, NowScan
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import MeshSource, NowPrediction, measure_each
from sheap.evaluation.similarity import procrustes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STIFFNESSES = (100.0, 30.0, 10.0, 3.0, 1.0)
"""Weight of the smoothness against the closest points; at the last one a bump of three vertices' width is followed."""
STEPS_EACH = 3
LANDMARK_WEIGHT = 20.0
"""A landmark counts as much as this many vertices."""
MAX_DISTANCE_MM = 15.0
"""Closest points farther away are no correspondences: the scan has a hole there, or ends."""
MARGIN = 1.25
"""The bent part of the prediction reaches this much beyond NoW's ball, so that its border is not what is measured."""


def nonrigid_errors(
    scan: TriangleTree,
    scan_landmarks: NDArray[np.floating],
    predicted_vertices: Floats,
    predicted_faces: Ints,
    predicted_landmarks: NDArray[np.floating],
    crop_landmarks: NDArray[np.floating],
    surface: NDArray[np.bool_] | None = None,
    bending: Literal["icp", "spline"] = "icp",
) -> Floats:
    """Distances [R] (mm) of the prediction's vertices in the face from where they belong on the scan (mm).

    scan_landmarks, predicted_landmarks [L,3] correspond, L at least 4: they lead the bending, and more of them lead it
    better. crop_landmarks [7,3]: NoW's on the scan, which say where the face is. surface [N]: the prediction's vertices
    that a scanner could see (None: all); eyeballs and the inside of a mouth have no place on a scan. bending: onto the
    scan (bend_onto), or by the landmarks alone (bend_by_landmarks). The prediction may be in any unit; its scale,
    rotation and translation are fitted to the correspondences found. Raises ValueError naming the field.
    """
    check_mesh(predicted_vertices, predicted_faces, "predicted")
    scan_landmarks = np.asarray(scan_landmarks, dtype=np.float64)
    predicted_landmarks = np.asarray(predicted_landmarks, dtype=np.float64)
    if scan_landmarks.shape != predicted_landmarks.shape or scan_landmarks.ndim != 2 or len(scan_landmarks) < 4:
        raise ValueError(
            f"predicted_landmarks: expected the scan's {list(scan_landmarks.shape)}, at least four, "
            f"got {list(predicted_landmarks.shape)}"
        )
    crop = face_crop(np.asarray(crop_landmarks, dtype=np.float64))
    fit = procrustes(scan_landmarks, predicted_landmarks, allow_reflection=False)
    placed = fit.apply(np.asarray(predicted_vertices, dtype=np.float64))
    is_near = np.linalg.norm(placed - crop.center, axis=1) <= MARGIN * crop.radius
    keep = is_near if surface is None else is_near & surface
    vertices, faces = _part(placed, np.asarray(predicted_faces), keep)
    if len(vertices) == 0:
        raise ValueError("predicted vertices: none near the scan's face after alignment by landmarks")
    landmarks = fit.apply(predicted_landmarks)
    if bending == "icp":
        bent = bend_onto(scan, vertices, faces, landmarks, scan_landmarks)
    else:
        bent = bend_by_landmarks(vertices, landmarks, scan_landmarks)
    found = scan.query(bent)
    is_counted = (np.linalg.norm(vertices - crop.center, axis=1) <= crop.radius) & (found.distances < MAX_DISTANCE_MM)
    ours, theirs = vertices[is_counted], found.points[is_counted]
    return np.linalg.norm(procrustes(theirs, ours, allow_reflection=False).apply(ours) - theirs, axis=1)


def nonrigid_statistics(
    dataset: NowDataset, methods: Mapping[str, MeshSource], images: Sequence[NowImage], surface: NDArray[np.bool_] | None
) -> dict[str, dict[str, Any]]:
    """Statistics of the non-rigid errors (mm) over all vertices of all images, by method. surface: as nonrigid_errors."""
    errors: dict[str, list[Floats]] = {name: [] for name in methods}
    for subject in dict.fromkeys(image.subject for image in images):
        scan = dataset.scan(subject)
        tree = TriangleTree(scan.mesh.vertices, scan.mesh.faces)
        of_subject = [image for image in images if image.subject == subject]
        for name, source in methods.items():
            errors[name] += measure_each(source.of_images(of_subject), of_subject, partial(_against, scan, tree, surface))
    statistics = {name: DistanceStatistics.of(found) for name, found in errors.items()}
    return {name: asdict(value) for name, value in statistics.items() if value is not None}


def _against(scan: NowScan, tree: TriangleTree, surface: NDArray[np.bool_] | None, found: NowPrediction) -> Floats:
    return nonrigid_errors(
        tree, scan.landmarks, found.mesh.vertices, found.mesh.faces, found.landmarks, scan.landmarks, surface
    )


def bend_onto(scan: TriangleTree, vertices: Floats, faces: Ints, landmarks: Floats, scan_landmarks: Floats) -> Floats:
    """Vertices [N,3] moved softly onto the scan, landmarks [L,3] of theirs towards the scan's."""
    laplacian = graph_laplacian(faces, len(vertices))
    # A landmark is carried by the closest point of the mesh, as a mixture of three vertices.
    mesh = TriangleTree(vertices, faces)
    on_mesh = mesh.query(landmarks)
    carried = _barycentric_rows(vertices, faces[on_mesh.faces], on_mesh.points)
    from_landmarks = LANDMARK_WEIGHT * (carried.T @ carried)
    bent = vertices
    for stiffness in STIFFNESSES:
        for _ in range(STEPS_EACH):
            found = scan.query(bent)
            weights = (found.distances < MAX_DISTANCE_MM).astype(np.float64)
            system = stiffness * laplacian + diags(weights) + from_landmarks
            target = weights[:, None] * (found.points - vertices)
            target += LANDMARK_WEIGHT * (carried.T @ (scan_landmarks - carried @ vertices))
            bent = vertices + splu(csc_matrix(system)).solve(target)
    return bent


def bend_by_landmarks(vertices: Floats, landmarks: Floats, scan_landmarks: Floats) -> Floats:
    """Vertices [N,3] moved by the thin-plate spline that takes landmarks [L,3] to the scan's (Bookstein 1989)."""
    spline = RBFInterpolator(landmarks, scan_landmarks - landmarks, kernel="thin_plate_spline", degree=1)
    return vertices + spline(vertices)


def graph_laplacian(faces: Ints, num_vertices: int) -> csc_matrix:
    """The mesh's combinatorial Laplacian [N,N]: x' L x is the sum of squared differences over its edges."""
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (num_vertices, num_vertices))
    return csc_matrix(diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency)


def _barycentric_rows(vertices: Floats, corners: Ints, points: Floats) -> csc_matrix:
    """Sparse rows [L,N] that mix each point on its triangle [L,3] from the triangle's corners."""
    rows = []
    for triangle, point in zip(vertices[corners], points, strict=True):
        # Three corners and a point in their plane: least squares with weights that sum to one.
        system = np.concatenate([triangle.T, np.ones((1, 3))])
        rows.append(np.linalg.lstsq(system, np.append(point, 1.0), rcond=None)[0])
    index = np.repeat(np.arange(len(points)), 3)
    return csc_matrix((np.concatenate(rows), (index, corners.ravel())), (len(points), len(vertices)))


def _part(vertices: Floats, faces: Ints, keep: NDArray[np.bool_]) -> tuple[Floats, Ints]:
    """The mesh of the faces whose vertices are all kept, without unused vertices."""
    used, local = np.unique(faces[keep[faces].all(1)], return_inverse=True)
    return vertices[used], local.reshape(-1, 3)
