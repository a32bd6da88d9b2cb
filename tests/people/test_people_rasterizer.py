from __future__ import annotations

import numpy as np
import torch

from sheap.geometry.cameras import Cameras
from sheap.people.filming import look_at
from sheap.people.rasterizer import MATTE, Light, Material, Piece, Posed, Scene
from sheap.people.shapes import ball, grid_solid
from sheap.render.mesh import rasterize_mesh

WHITE = np.full((4, 4, 4), 255, np.uint8)


def even_light(level: float = 1.0) -> Light:
    """Equal light from everywhere: irradiance / pi is `level` at every normal."""
    matrix = np.zeros((3, 4, 4), np.float32)
    matrix[:, 3, 3] = level
    return Light(matrix, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))


def camera(size: int = 96):
    matrix = look_at(np.array([0.1, 0.2, 0.6]), np.zeros(3), 0.1)
    K = np.array([[1.3 * size, 0, size / 2 + 3.2], [0, 1.3 * size, size / 2 - 1.7], [0, 0, 1]], np.float32)
    return matrix, K, size


def square(z: float, half: float = 0.2):
    points = np.array([[[x, y, z] for x in (-half, half)] for y in (half, -half)], np.float32)
    return grid_solid(points)


def test_it_sees_the_same_faces_as_the_projects_mesh_rasteriser(stage):
    matrix, K, size = camera()
    vertices, faces = stage.template, stage.faces.astype(np.int32)
    pieces = [
        Piece(str(k), "b", faces[k::7], np.zeros((len(faces[k::7]), 3, 2), np.float32), Material(WHITE))
        for k in range(7)
    ]
    scene = Scene(pieces, {"b": len(vertices)})
    rendered = scene.render(
        {"b": Posed(vertices, np.zeros_like(vertices))}, matrix, K, size, size, even_light(), supersample=1
    )
    fragments = rasterize_mesh(
        torch.from_numpy(vertices),
        torch.from_numpy(stage.faces),
        Cameras(torch.from_numpy(matrix)[None], torch.from_numpy(K)[None], size, size),
    )
    theirs = fragments.face_ids[0].numpy()
    both = (theirs >= 0) & (rendered.piece_ids >= 0)
    # Back faces are culled here and kept there: they differ only inside the open neck and at silhouettes.
    assert (theirs >= 0).sum() > 1500
    assert ((theirs >= 0) != (rendered.piece_ids >= 0)).mean() < 0.03
    assert (theirs[both] % 7 == rendered.piece_ids[both]).mean() > 0.97


def test_a_matte_surface_is_albedo_times_irradiance_in_linear_light():
    matrix, K, size = camera()
    grey = np.full((4, 4, 4), 255, np.uint8)
    grey[..., :3] = 188  # sRGB of linear 0.5029
    solid = ball((0.1, 0.1, 0.1))
    scene = Scene([Piece("ball", "b", solid.faces, solid.corner_uv, Material(grey, MATTE))], {"b": len(solid.vertices)})
    seen = scene.render({"b": Posed(solid.vertices, solid.normals)}, matrix, K, size, size, even_light(0.8))
    inside = seen.alpha == 1
    assert inside.sum() > 500
    assert np.allclose(seen.color[inside], 0.5029 * 0.8, atol=2e-3)


def test_occlusion_and_tint_multiply():
    matrix, K, size = camera()
    solid = square(0.0)
    tint = np.full((4, 3), 0.5, np.float32)
    scene = Scene([Piece("s", "b", solid.faces, solid.corner_uv, Material(WHITE))], {"b": 4}, {"b": tint})
    posed = {"b": Posed(solid.vertices, solid.normals, np.full(4, 0.25, np.float32))}
    seen = scene.render(posed, matrix, K, size, size, even_light())
    assert np.allclose(seen.color[seen.alpha == 1], 0.125, atol=1e-3)


def test_cut_outs_let_the_background_through_and_screens_thin_evenly():
    matrix, K, size = camera()
    texture = WHITE.copy()
    texture[:, :2, 3] = 0
    solid = square(0.0)
    half = Scene([Piece("s", "b", solid.faces, solid.corner_uv, Material(texture, two_sided=True))], {"b": 4})
    full = Scene([Piece("s", "b", solid.faces, solid.corner_uv, Material(WHITE, two_sided=True))], {"b": 4})
    posed = {"b": Posed(solid.vertices, solid.normals)}
    covered = [scene.render(posed, matrix, K, size, size, even_light()).alpha.sum() for scene in (half, full)]
    assert 0.4 < covered[0] / covered[1] < 0.6

    veil = WHITE.copy()
    veil[..., 3] = 128
    thin = Scene(
        [Piece("s", "b", solid.faces, solid.corner_uv, Material(veil, two_sided=True, screen_door=True))], {"b": 4}
    )
    alpha = thin.render(posed, matrix, K, size, size, even_light()).alpha
    middle = full.render(posed, matrix, K, size, size, even_light()).alpha == 1
    # Two of each pixel's four samples: a veil without grain.
    assert np.all(np.isin(alpha[middle], (0.5,)))


def test_nearer_surfaces_hide_farther_ones_and_back_faces_are_culled():
    matrix, K, size = camera()
    near, far = square(0.05, 0.05), square(0.0, 0.2)
    pieces = [Piece(name, name, s.faces, s.corner_uv, Material(WHITE)) for name, s in (("near", near), ("far", far))]
    scene = Scene(pieces, {"near": 4, "far": 4})
    posed = {"near": Posed(near.vertices, near.normals), "far": Posed(far.vertices, far.normals)}
    ids = scene.render(posed, matrix, K, size, size, even_light()).piece_ids
    assert (ids == 0).sum() > 50 and (ids == 1).sum() > 200
    behind = look_at(np.array([0.0, 0, -0.6]), np.zeros(3), 0.0)
    assert (scene.render(posed, behind, K, size, size, even_light()).piece_ids == -1).all()
