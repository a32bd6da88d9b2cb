"""Turns a neutral identity into what a face scanner would deliver: a dense surface with noise, holes and ragged
borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from sheap.geometry.cameras import Cameras
from sheap.people.filming import look_at
from sheap.people.noise import point_noise
from sheap.people.shapes import smooth_normals
from sheap.people.studio import Studio
from sheap.render.mesh import rasterize_mesh

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScanSettings:
    """subdivisions: how often each face is split in four. noise_mm: spread of the surface along its normal. pick_mm:
    spread of the clicks that mark landmarks. num_holes: patches the scanner missed away from the face."""

    subdivisions: int
    noise_mm: float
    pick_mm: float
    num_holes: int


@dataclass(frozen=True)
class Scan:
    """vertices [N, 3] mm in the scanner's own axes, faces [F, 3], landmarks [7, 3] mm (NoW's order) on vertices of
    the scan.

    rotation [3, 3] and translation_mm [3] took the head's space to the scanner's.
    """

    vertices: Array
    faces: NDArray[np.int64]
    landmarks: Array
    rotation: Array
    translation_mm: Array


def make_scan(
    studio: Studio,
    shape: NDArray[np.float32],
    settings: ScanSettings,
    rng: np.random.Generator,
    residual: NDArray[np.float32] | None = None,
) -> Scan:
    """Scans the neutral face of identity coefficients [S]; residual [N, 3] (m): what they lack of it."""
    head = studio.head
    neutral = head.neutral(torch.from_numpy(np.asarray(shape, np.float32)))
    if residual is not None:
        neutral = neutral + torch.from_numpy(residual)
    landmarks = head.now_landmarks(neutral).numpy().astype(np.float64)
    vertices, faces = _scannable(studio, neutral.numpy().astype(np.float64))
    for _ in range(settings.subdivisions):
        vertices, faces = subdivide(vertices, faces)
    faces = faces[_seen(vertices, faces)]
    faces = faces[_without_holes(vertices, faces, settings.num_holes, rng)]
    faces = _largest_parts(faces, len(vertices))
    used, local = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], local.reshape(-1, 3)
    vertices = vertices + _noise(vertices, faces, settings.noise_mm * 1e-3, rng)

    picked = landmarks + rng.normal(0, settings.pick_mm * 1e-3 / np.sqrt(3), (7, 3))
    _, nearest = cKDTree(vertices).query(picked)
    rotation = Rotation.from_rotvec(rng.normal(0, np.radians(12), 3)).as_matrix()
    translation_mm = rng.normal(0, (60, 60, 120))
    placed = vertices * 1e3 @ rotation.T + translation_mm
    return Scan(placed, faces, placed[nearest], rotation, translation_mm)


def subdivide(vertices: Array, faces: NDArray) -> tuple[Array, NDArray[np.int64]]:
    """Each triangle into four by its edges' midpoints: the surface stays exactly the same."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    middle = (len(vertices) + inverse.reshape(3, -1)).T
    points = np.concatenate([vertices, vertices[unique].mean(1)])
    a, b, c = faces.T
    ab, bc, ca = middle.T
    split = np.stack([np.stack(t, -1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))], 1)
    return points, split.reshape(-1, 3)


def _scannable(studio: Studio, vertices: Array) -> tuple[Array, NDArray]:
    """Outer skin and eyeballs; no mouth, no sockets, no teeth; cut above the shoulders."""
    soft, faces = studio.soft_regions, studio.faces
    inner = soft["mouth_interior"] + soft["eye_sockets"]
    skin = (soft["skin"] > 0.5)[faces].all(1) & ~(inner > 0.5)[faces].all(1)
    eyes = (soft["eyeballs"] > 0.5)[faces].all(1)
    above = studio.template[:, 1][faces].mean(1) > -0.175
    return vertices, faces[(skin | eyes) & above]


def _seen(vertices: Array, faces: NDArray) -> NDArray[np.bool_]:
    """Faces [F] that some camera of the scanner sees, from about 25 places around the front."""
    points = torch.from_numpy(vertices.astype(np.float32))
    triangles = torch.from_numpy(faces)
    seen = torch.zeros(len(faces), dtype=torch.bool)
    size, distance = 512, 0.8
    K = torch.tensor([[1.25 * size, 0, size / 2], [0, 1.25 * size, size / 2], [0, 0, 1]])
    for elevation in (-25, 5, 35):
        for azimuth in (-105, -75, -45, -15, 15, 45, 75, 105):
            a, e = np.radians(azimuth), np.radians(elevation)
            eye = distance * np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)]) + [0, -0.02, -0.01]
            matrix = torch.from_numpy(look_at(eye, np.array([0, -0.02, -0.01]), 0.0))
            fragments = rasterize_mesh(points, triangles, Cameras(matrix[None], K[None], size, size))
            ids = torch.unique(fragments.face_ids)
            seen[ids[ids >= 0]] = True
    keep = seen.numpy()
    # A small triangle can fall between pixels: it is kept when its corners belong to seen ones.
    support = np.zeros(len(vertices), bool)
    support[faces[keep]] = True
    return np.asarray(support[faces].all(1))


def _without_holes(vertices: Array, faces: NDArray, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Scanners lose hair and the rim of the view: ragged holes on the scalp and behind, none on the face."""
    middle = vertices[faces].mean(1)
    keep = np.ones(len(faces), bool)
    back = np.flatnonzero((middle[:, 2] < 0.0) | (middle[:, 1] > 0.075))
    for _ in range(count):
        centre = middle[rng.choice(back)]
        radius = rng.uniform(0.004, 0.018)
        ragged = 0.3 * radius * point_noise(rng, middle.astype(np.float32), 0.008)
        keep &= np.linalg.norm(middle - centre, axis=1) + ragged > radius
    edge = 0.004 * point_noise(rng, middle.astype(np.float32), 0.02)
    keep &= (middle[:, 1] + edge > -0.160) & (middle[:, 2] + edge > -0.105)
    return keep


def _largest_parts(faces: NDArray, num_vertices: int) -> NDArray:
    """Without crumbs: connected parts of fewer than 200 faces are dropped."""
    a, b = np.concatenate([faces[:, 0], faces[:, 1]]), np.concatenate([faces[:, 1], faces[:, 2]])
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), (num_vertices, num_vertices))
    _, labels = connected_components(graph, directed=False)
    part = labels[faces[:, 0]]
    return faces[np.bincount(part, minlength=labels.max() + 1)[part] >= 200]


def _noise(vertices: Array, faces: NDArray, spread: float, rng: np.random.Generator) -> Array:
    """Displacements [N, 3] along the normals: waves of a scanner's calibration, texture of its matching, and grain."""
    normals = smooth_normals(vertices.astype(np.float32), faces)
    points = vertices.astype(np.float32)
    height = (
        0.6 * point_noise(rng, points, 0.03)
        + 0.7 * point_noise(rng, points, 0.006)
        + 0.4 * rng.standard_normal(len(points))
    )
    return spread * height[:, None] * normals
