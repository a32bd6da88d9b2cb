from __future__ import annotations

import numpy as np
import torch

from sheap.people.lighting import irradiance_matrices, sample_lighting, sphere_directions
from sheap.people.occlusion import measure_visibility
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
        light = sample_lighting(np.random.default_rng(seed)).for_renderer()
        front = np.array([0, 0, 1, 1], np.float32)
        white.append(np.einsum("i,cij,j->c", front, light.irradiance, front))
    white = np.array(white)
    assert white.mean(1).min() > 0.15 and white.mean(1).max() < 1.6
    assert white.mean(1).std() > 0.05
    # Colours differ after white balance, too.
    assert np.ptp(white[:, 0] / white[:, 2]) > 0.1


def test_an_open_ball_sees_all_light_and_a_covered_point_sees_little():
    sphere = ball((0.1, 0.1, 0.1), 20, 30)
    light = sample_lighting(np.random.default_rng(0))
    solid = np.ones(len(sphere.faces), np.float32)
    seen = measure_visibility(sphere.vertices, sphere.normals, sphere.vertices, sphere.faces, solid)
    share = seen.share(light, np.eye(3))
    # A ball never blocks itself; what is missing is the grid's coarseness at the horizon.
    assert np.median(share) > 0.97 and share.min() > 0.8

    roof_at = np.array([[[x, 0.02, z] for x in (-0.3, 0.3)] for z in (-0.3, 0.3)], np.float32)
    roof = grid_solid(roof_at)
    under = measure_visibility(
        np.zeros((1, 3), np.float32),
        np.array([[0, 1, 0]], np.float32),
        roof.vertices,
        roof.faces,
        np.ones(2, np.float32),
    )
    assert under.share(light, np.eye(3))[0] < 0.15
