from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from sheap.evaluation.closest_point import TriangleTree
from sheap.people.scans import ScanSettings, make_scan, subdivide


@pytest.fixture(scope="module")
def clean(studio, member):
    """A scan without noise or clicks beside the mark: what is left is exact."""
    settings = ScanSettings(subdivisions=2, noise_mm=0.0, pick_mm=0.0, num_holes=6)
    return make_scan(studio, member.shape, settings, np.random.default_rng(1))


def in_head_space(scan):
    return (scan.vertices - scan.translation_mm) @ scan.rotation / 1e3


def distance_to_neutral(studio, member, points):
    vertices = studio.head.neutral(torch.from_numpy(member.shape)).numpy().astype(np.float64)
    return TriangleTree(vertices, studio.faces).query(points).distances


def test_a_clean_scan_lies_on_the_neutral_surface(studio, member, clean):
    sample = in_head_space(clean)[::97]
    distance = distance_to_neutral(studio, member, sample)
    assert distance.max() < 1e-6


def test_a_residual_is_scanned_with_the_shape(studio, member):
    settings = ScanSettings(subdivisions=0, noise_mm=0.0, pick_mm=0.0, num_holes=0)
    residual = np.float32(0.004) * studio.normals
    scan = make_scan(studio, member.shape, settings, np.random.default_rng(1), residual)
    distance = distance_to_neutral(studio, member, in_head_space(scan)[::7])
    # Vertices moved by 4 mm; near folds such as ears and nostrils another part of the surface is closer.
    assert 0.003 < np.median(distance) < 0.0041


def test_scans_are_dense_in_millimetres_and_placed_anywhere(studio, clean):
    faces = studio.faces
    template = studio.template.astype(float)
    coarse = np.linalg.norm(template[faces[:, 0]] - template[faces[:, 1]], axis=1).mean() * 1e3
    edges = np.linalg.norm(clean.vertices[clean.faces[:, 0]] - clean.vertices[clean.faces[:, 1]], axis=1)
    assert edges.mean() < 0.4 * coarse
    assert len(clean.vertices) > 5 * studio.head.num_vertices
    size = np.ptp(in_head_space(clean) * 1e3, axis=0)
    assert 140 < size[0] < 260 and 200 < size[1] < 360
    assert np.allclose(clean.rotation @ clean.rotation.T, np.eye(3), atol=1e-12) and np.linalg.det(clean.rotation) > 0
    assert np.linalg.norm(clean.translation_mm) > 1 and not np.allclose(clean.rotation, np.eye(3))


def test_landmarks_lie_on_the_scan_at_the_heads_own(studio, member, clean):
    distance = np.linalg.norm(clean.vertices[:, None] - clean.landmarks[None], axis=-1).min(0)
    assert distance.max() == 0
    true = studio.head.now_landmarks(studio.head.neutral(torch.from_numpy(member.shape))).numpy() * 1e3
    placed = true @ clean.rotation.T + clean.translation_mm
    # At most half an edge of the finest triangles away from the mark itself, except where the scanner did not see it.
    assert np.linalg.norm(placed - clean.landmarks, axis=1).max() < 2.0


def test_the_face_is_whole_and_the_rest_has_holes_and_borders(clean, studio):
    edges = np.sort(np.concatenate([clean.faces[:, [0, 1]], clean.faces[:, [1, 2]], clean.faces[:, [2, 0]]]), 1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() <= 2 and (counts == 1).sum() > 200
    points = in_head_space(clean)
    cheeks = studio.template[studio.soft_regions["nose"] > 0.5]
    nearest = [np.linalg.norm(points - p, axis=1).min() for p in cheeks[::40]]
    # The identity's nose is somewhere near the mean head's nose: no hole of the scanner there.
    assert max(nearest) < 0.012


def test_noise_has_the_size_it_is_given(studio, member):
    settings = ScanSettings(subdivisions=2, noise_mm=0.2, pick_mm=0.0, num_holes=0)
    scan = make_scan(studio, member.shape, settings, np.random.default_rng(2))
    sample = in_head_space(scan)[::29]
    distance = distance_to_neutral(studio, member, sample)
    assert 0.1e-3 < np.sqrt((distance**2).mean()) < 0.3e-3


def test_scans_repeat_by_seed(studio, member):
    settings = ScanSettings(1, 0.1, 0.3, 3)
    first, again, other = (make_scan(studio, member.shape, settings, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(first.vertices, again.vertices) and np.array_equal(first.faces, again.faces)
    assert not np.array_equal(first.translation_mm, other.translation_mm)


def test_subdivision_keeps_the_surface():
    box = trimesh.creation.box((1, 2, 3))
    vertices, faces = subdivide(np.asarray(box.vertices), np.asarray(box.faces))
    fine = trimesh.Trimesh(vertices, faces, process=False)
    assert len(faces) == 4 * len(box.faces) and fine.is_watertight
    assert fine.volume == pytest.approx(6) and fine.area == pytest.approx(22)
