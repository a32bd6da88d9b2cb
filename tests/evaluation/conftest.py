"""Synthetic heads for the metric's tests: a bumpy ellipsoid of a head's size whose seven landmarks are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

# Directions (x left, y up, z forward) of NoW's seven landmarks on the ellipsoid.
LANDMARK_DIRECTIONS = np.array(
    [
        [-0.55, 0.25, 0.80],
        [-0.20, 0.25, 0.95],
        [0.20, 0.25, 0.95],
        [0.55, 0.25, 0.80],
        [0.00, -0.10, 1.00],
        [-0.28, -0.35, 0.90],
        [0.28, -0.35, 0.90],
    ]
)


@dataclass(frozen=True)
class Head:
    """vertices [N,3], faces [F,3] and landmarks [7,3] in one frame and unit."""

    vertices: np.ndarray
    faces: np.ndarray
    landmarks: np.ndarray

    def moved(self, scale: float, rotation: np.ndarray, translation: np.ndarray) -> Head:
        return Head(
            scale * self.vertices @ rotation.T + translation,
            self.faces,
            scale * self.landmarks @ rotation.T + translation,
        )


def surface(directions: np.ndarray, bumps: np.ndarray) -> np.ndarray:
    """Points (mm) of the head in these directions; `bumps` [K] are amplitudes (mm) of smooth waves on it."""
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    x, y, z = unit.T
    nose = 14.0 * np.exp(-((x / 0.16) ** 2) - ((y / 0.25) ** 2)) * (z > 0)
    waves = [np.sin((2 + k) * x + k) * np.cos((3 + k) * y - k) for k in range(len(bumps))]
    height = nose + sum(a * w for a, w in zip(bumps, waves, strict=True))
    return unit * (np.array([75.0, 105.0, 90.0]) + height[:, None])


def sphere(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions [N,3] and faces [F,3] of a latitude-longitude sphere, wound outwards."""
    columns = 2 * rows
    polar = np.linspace(0, np.pi, rows + 1)[1:-1]
    around = np.arange(columns) / columns * 2 * np.pi
    grid = np.stack(
        [
            np.outer(np.sin(polar), np.sin(around)),
            np.outer(np.cos(polar), np.ones(columns)),
            np.outer(np.sin(polar), np.cos(around)),
        ],
        -1,
    ).reshape(-1, 3)
    directions = np.concatenate([grid, [[0, 1, 0], [0, -1, 0]]])
    top, bottom = len(grid), len(grid) + 1
    faces = []
    for row in range(rows - 2):
        for column in range(columns):
            right = (column + 1) % columns
            a, b = row * columns + column, row * columns + right
            c, d = a + columns, b + columns
            faces += [[a, c, b], [b, c, d]]
    last = (rows - 2) * columns
    for column in range(columns):
        right = (column + 1) % columns
        faces += [[top, column, right], [bottom, last + right, last + column]]
    return directions, np.array(faces)


def make_head(rows: int, bumps: np.ndarray) -> Head:
    directions, faces = sphere(rows)
    return Head(surface(directions, bumps), faces, surface(LANDMARK_DIRECTIONS, bumps))


@pytest.fixture(scope="session")
def scan() -> Head:
    """A scan of 3,000 vertices, in mm."""
    return make_head(40, np.array([1.5, -1.0, 2.0, 0.5]))


def make_prediction(rows: int) -> Head:
    """A head of another shape than the scan's, in metres, turned and moved."""
    from sheap.evaluation.similarity import rodrigues

    head = make_head(rows, np.array([-1.0, 2.5, 0.0, 1.5]))
    return head.moved(1.1e-3, rodrigues(np.array([0.2, -0.5, 0.3])), np.array([0.1, -0.4, 1.3]))


@pytest.fixture(scope="session")
def prediction() -> Head:
    """A prediction of 900 vertices."""
    return make_prediction(22)


@pytest.fixture(scope="session")
def coarse_prediction() -> Head:
    """A prediction of 270 vertices."""
    return make_prediction(12)


@pytest.fixture
def benchmark(tmp_path, scan) -> Path:
    """A benchmark folder in NoW's layout: two subjects, three images, no pictures."""
    from sheap.evaluation.landmark_files import write_picked_points
    from sheap.evaluation.mesh_files import TriangleMesh, write_obj

    root = tmp_path / "benchmark"
    heads = {"ann": scan, "bob": make_head(30, np.array([0.5, 1.0, -1.5, 0.0]))}
    for name, head in heads.items():
        for folder in ("scans", "scans_lmks_onlypp"):
            (root / folder / name).mkdir(parents=True)
        write_obj(root / "scans" / name / f"{name}.obj", TriangleMesh(head.vertices, head.faces))
        picked = root / "scans_lmks_onlypp" / name / f"{name}_picked_points.pp"
        write_picked_points(picked, head.landmarks, f"{name}.obj")
    lines = ["ann/multiview_neutral/IMG_1.jpg", "bob/selfie/IMG_2.jpg", "ann/selfie/IMG_3.jpg"]
    (root / "imagepathsvalidation.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def predictions(tmp_path, benchmark, prediction) -> Path:
    """One head for all three images, in NoW's submission format (mm, like the open head's place and frame)."""
    from sheap.evaluation.mesh_files import TriangleMesh
    from sheap.evaluation.now.dataset import NowDataset
    from sheap.evaluation.now.submission import CANONICAL_LANDMARKS_MM, write_prediction
    from sheap.evaluation.similarity import procrustes

    place = procrustes(CANONICAL_LANDMARKS_MM, prediction.landmarks)
    mesh = TriangleMesh(place.apply(prediction.vertices), prediction.faces)
    for image in NowDataset.open(benchmark).images:
        write_prediction(tmp_path / "predictions", image, mesh, place.apply(prediction.landmarks))
    return tmp_path / "predictions"
