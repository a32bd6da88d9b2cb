from __future__ import annotations

import numpy as np
import torch

from sheap.people.lighting import irradiance_matrices, sample_lighting, sphere_directions
from sheap.people.occlusion import Blockers, arriving_light, head_visibility, irradiance, transmittance
from sheap.people.shapes import ball, grid_solid
from sheap.render.shading import sh_irradiance


def test_the_renderers_quadratic_form_is_the_projects_irradiance():
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal((9, 3)).astype(np.float32)
    normals = sphere_directions(300)
    ones = np.concatenate([normals, np.ones((300, 1), np.float32)], 1)
    ours = np.einsum("di,cij,dj->dc", ones, irradiance_matrices(coefficients), ones)
    theirs = sh_irradiance(torch.from_numpy(normals), torch.from_numpy(coefficients)).numpy()
    # The paper's constants have six digits.
    assert np.abs(ours - theirs).max() < 2e-5


def test_coefficients_are_the_light_they_came_from():
    light = sample_lighting(np.random.default_rng(3))
    normals = sphere_directions(64)
    far = sphere_directions(20000)
    exact = np.maximum(normals @ far.T, 0) @ light.radiance(far) * (4 * np.pi / len(far))
    approximate = sh_irradiance(torch.from_numpy(normals), torch.from_numpy(light.sh_coefficients())).numpy()
    # Nine coefficients hold all but a few per cent of any irradiance (Ramamoorthi and Hanrahan 2001).
    assert np.abs(exact - approximate).max() < 0.12 * exact.max()


def test_faces_are_lit_like_photographs():
    white = []
    for seed in range(40):
        light = sample_lighting(np.random.default_rng(seed))
        white.append(light.open_irradiance(np.array([[0, 0, 1]], np.float32))[0])
    white = np.array(white)
    assert white.mean(1).min() > 0.15 and white.mean(1).max() < 1.6
    assert white.mean(1).std() > 0.05
    # Colours differ after white balance, too.
    assert np.ptp(white[:, 0] / white[:, 2]) > 0.1


def test_summed_directions_are_the_exact_irradiance_also_of_a_turned_head():
    light = sample_lighting(np.random.default_rng(4))
    normals = sphere_directions(64)
    far = sphere_directions(20000)
    exact = np.maximum(normals @ far.T, 0) @ light.radiance(far) * (4 / len(far))
    turn = np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]], np.float32)
    arriving = arriving_light(light, turn)
    for directions, tolerance in ((arriving.fine, 0.03), (arriving.coarse, 0.12)):
        seen = np.ones((64, len(directions)), np.float32)
        ours, share = irradiance(normals @ turn, seen, directions)
        assert np.abs(ours - exact).max() < tolerance * exact.max()
        assert np.allclose(share, 1, atol=1e-5)


def test_an_open_ball_sees_all_light_and_a_covered_point_sees_little():
    sphere = ball((0.1, 0.1, 0.1), 20, 30)
    light = arriving_light(sample_lighting(np.random.default_rng(0)), np.eye(3))
    lift = np.full(len(sphere.vertices), 0.0008)
    seen = head_visibility(sphere.vertices, sphere.normals, sphere.faces, lift)
    _, share = irradiance(sphere.normals, seen, light.fine)
    # A ball never blocks itself; what is missing is the grid's coarseness at the horizon.
    assert np.median(share) > 0.97 and share.min() > 0.8

    roof_at = np.array([[[x, 0.02, z] for x in (-0.3, 0.3)] for z in (-0.3, 0.3)], np.float32)
    roof = grid_solid(roof_at)
    point, up = np.zeros((1, 3), np.float32), np.array([[0, 1, 0]], np.float32)
    vertices, normals = np.concatenate([point, roof.vertices]), np.concatenate([up, roof.normals])
    under = head_visibility(vertices, normals, roof.faces + 1, np.full(5, 0.0008))
    assert irradiance(up, under[:1], light.fine)[1][0] < 0.15


def test_a_cloud_lets_through_what_its_area_leaves():
    """Blockers with area A over a cross-section S let exp(-A / S) through, to what lies behind them and no other."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.1, 0.1, (20000, 3)).astype(np.float32)
    points[:, 1] = rng.uniform(0.08, 0.1, 20000)
    cloud = Blockers(points, np.full(20000, 1.0 * 0.04 / 20000, np.float32))
    nothing = Blockers(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    at = np.array([[0, 0, 0], [0, 0.2, 0]], np.float32)
    up = np.tile(np.float32([0, 1, 0]), (2, 1))
    to_head, to_loose = transmittance(at, up, at, cloud, nothing)
    below, above = to_head[:, 0]  # the first coarse direction is nearly straight up
    assert abs(below - np.exp(-1.0)) < 0.12 and above > 0.99
    assert np.allclose(to_head[0, 0], to_loose[0, 0], atol=0.02)
    assert to_loose[0].min() > np.exp(-6) and to_loose[1, -1] < 0.6


def test_large_faces_become_many_small_blockers():
    sheet = grid_solid(np.array([[[x, 0, z] for x in (-0.1, 0.1)] for z in (-0.1, 0.1)], np.float32))
    cloud = Blockers.of_mesh(sheet.vertices, sheet.faces, 0.5)
    assert len(cloud.points) > 50 and abs(cloud.areas.sum() - 0.5 * 0.04) < 1e-6
    assert np.abs(cloud.points[:, [0, 2]]).max() <= 0.1 and np.abs(cloud.points.mean(0)).max() < 0.02
