from __future__ import annotations

import numpy as np
import torch

from sheap.geometry.cameras import Cameras
from sheap.people.filming import look_at
from sheap.people.lighting import Lighting
from sheap.people.scene import EYE, HAIR, MATTE, SKIN, Material, Piece, Posed, Scene
from sheap.people.shapes import ball, grid_solid
from sheap.render.mesh import rasterize_mesh

WHITE = np.full((4, 4, 4), 255, np.uint8)


def dark() -> Lighting:
    """No light that could be mirrored: what arrives is said by the blocks."""
    none = np.zeros((0, 3), np.float32)
    black = np.zeros(3, np.float32)
    return Lighting(none, none, np.zeros(0, np.float32), black, black, black)


def lamp(direction, color=(1.0, 1.0, 1.0), sharpness: float = 10.0) -> Lighting:
    direction = np.asarray(direction, np.float32)
    black = np.zeros(3, np.float32)
    return Lighting(
        (direction / np.linalg.norm(direction))[None], np.array([color], np.float32),
        np.array([sharpness], np.float32), black, black, black,
    )  # fmt: skip


def evenly(vertices, normals, level: float = 1.0, tangents=None) -> Posed:
    """A block that as much light reaches everywhere."""
    count = len(vertices)
    return Posed(vertices, normals, np.full((count, 3), level, np.float32), np.ones(count, np.float32), tangents)


def camera(size: int = 96):
    matrix = look_at(np.array([0.1, 0.2, 0.6]), np.zeros(3), 0.1)
    K = np.array([[1.3 * size, 0, size / 2 + 3.2], [0, 1.3 * size, size / 2 - 1.7], [0, 0, 1]], np.float32)
    return matrix, K, size


def square(z: float, half: float = 0.2):
    points = np.array([[[x, y, z] for x in (-half, half)] for y in (half, -half)], np.float32)
    return grid_solid(points)


def test_it_sees_the_same_faces_as_the_projects_mesh_rasteriser(studio):
    matrix, K, size = camera()
    vertices, faces = studio.template, studio.faces.astype(np.int32)
    pieces = [
        Piece(str(k), "b", faces[k::7], np.zeros((len(faces[k::7]), 3, 2), np.float32), Material(WHITE))
        for k in range(7)
    ]
    scene = Scene(pieces, {"b": len(vertices)})
    rendered = scene.render(
        {"b": evenly(vertices, np.zeros_like(vertices))}, matrix, K, size, size, dark(), supersample=1
    )
    fragments = rasterize_mesh(
        torch.from_numpy(vertices),
        torch.from_numpy(studio.faces),
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
    seen = scene.render({"b": evenly(solid.vertices, solid.normals, 0.8)}, matrix, K, size, size, dark())
    inside = seen.alpha == 1
    assert inside.sum() > 500
    assert np.allclose(seen.color[inside], 0.5029 * 0.8, atol=2e-3)


def test_light_and_tint_multiply():
    matrix, K, size = camera()
    solid = square(0.0)
    tint = np.full((4, 3), 0.5, np.float32)
    scene = Scene([Piece("s", "b", solid.faces, solid.corner_uv, Material(WHITE))], {"b": 4}, {"b": tint})
    posed = {"b": evenly(solid.vertices, solid.normals, 0.25)}
    seen = scene.render(posed, matrix, K, size, size, dark())
    assert np.allclose(seen.color[seen.alpha == 1], 0.125, atol=1e-3)


def test_cut_outs_let_the_background_through_and_screens_thin_evenly():
    matrix, K, size = camera()
    texture = WHITE.copy()
    texture[:, :2, 3] = 0
    solid = square(0.0)
    half = Scene([Piece("s", "b", solid.faces, solid.corner_uv, Material(texture, two_sided=True))], {"b": 4})
    full = Scene([Piece("s", "b", solid.faces, solid.corner_uv, Material(WHITE, two_sided=True))], {"b": 4})
    posed = {"b": evenly(solid.vertices, solid.normals)}
    covered = [scene.render(posed, matrix, K, size, size, dark()).alpha.sum() for scene in (half, full)]
    assert 0.4 < covered[0] / covered[1] < 0.6

    veil = WHITE.copy()
    veil[..., 3] = 128
    thin = Scene(
        [Piece("s", "b", solid.faces, solid.corner_uv, Material(veil, two_sided=True, screen_door=True))], {"b": 4}
    )
    alpha = thin.render(posed, matrix, K, size, size, dark()).alpha
    middle = full.render(posed, matrix, K, size, size, dark()).alpha == 1
    # Two of each pixel's four samples: a veil without grain.
    assert np.all(np.isin(alpha[middle], (0.5,)))


def test_nearer_surfaces_hide_farther_ones_and_back_faces_are_culled():
    matrix, K, size = camera()
    near, far = square(0.05, 0.05), square(0.0, 0.2)
    pieces = [Piece(name, name, s.faces, s.corner_uv, Material(WHITE)) for name, s in (("near", near), ("far", far))]
    scene = Scene(pieces, {"near": 4, "far": 4})
    posed = {"near": evenly(near.vertices, near.normals), "far": evenly(far.vertices, far.normals)}
    ids = scene.render(posed, matrix, K, size, size, dark()).piece_ids
    assert (ids == 0).sum() > 50 and (ids == 1).sum() > 200
    behind = look_at(np.array([0.0, 0, -0.6]), np.zeros(3), 0.0)
    assert (scene.render(posed, behind, K, size, size, dark()).piece_ids == -1).all()


def test_depths_are_those_of_what_is_seen():
    matrix, K, size = camera()
    solid = ball((0.1, 0.1, 0.1))
    scene = Scene([Piece("ball", "b", solid.faces, solid.corner_uv, Material(WHITE))], {"b": len(solid.vertices)})
    seen = scene.render({"b": evenly(solid.vertices, solid.normals)}, matrix, K, size, size, dark())
    middle = K @ (matrix[:3, :3] @ np.zeros(3) + matrix[:3, 3])
    x, y = (middle[:2] / middle[2]).astype(int)
    assert abs(seen.depths[y, x] - (matrix[2, 3] - 0.1)) < 0.003
    assert (seen.depths[seen.piece_ids < 0] > 1e6).all()


def test_a_mirrored_lamp_lies_where_the_angles_say_and_is_smaller_in_an_eye():
    matrix, K, size = camera()
    solid = ball((0.1, 0.1, 0.1), 40, 60)
    black = np.zeros((4, 4, 4), np.uint8)
    black[..., 3] = 255
    eye = -matrix[:3, :3].T @ matrix[:3, 3]
    toward = np.array([0.6, 0.5, 0.6])
    spots = {}
    for kind, sharpness in ((SKIN, 4), (EYE, 8)):
        material = Material(black, kind, 1.0, sharpness)
        scene = Scene([Piece("ball", "b", solid.faces, solid.corner_uv, material)], {"b": len(solid.vertices)})
        posed = {"b": evenly(solid.vertices, solid.normals, 0.0)}
        bright = scene.render(posed, matrix, K, size, size, lamp(toward)).color.mean(-1)
        y, x = np.mgrid[0:size, 0:size] + 0.5
        spots[kind] = (bright * x).sum() / bright.sum(), (bright * y).sum() / bright.sum(), (bright > bright.max() / 2).sum()
        assert bright.max() > 0.01
    # On a small ball far away, the mirroring normal halves the angle between lamp and camera.
    half = toward / np.linalg.norm(toward) + eye / np.linalg.norm(eye)
    place = K @ (matrix[:3, :3] @ (0.1 * half / np.linalg.norm(half)) + matrix[:3, 3])
    assert np.linalg.norm(np.array(spots[EYE][:2]) - place[:2] / place[2]) < 2.5
    assert spots[EYE][2] < 0.3 * spots[SKIN][2]


def test_hair_shines_across_its_fibres():
    """A highlight on hair is a band across the fibres: turning the fibres turns it."""
    matrix, K, size = look_at(np.array([0.0, 0, 0.6]), np.zeros(3), 0.0), camera()[1], 96
    solid = ball((0.1, 0.1, 0.1), 40, 60)
    grey = np.full((4, 4, 4), 160, np.uint8)
    grey[..., 3] = 255
    material = Material(grey, HAIR, 0.1, 5, two_sided=True)
    scene = Scene([Piece("hair", "b", solid.faces, solid.corner_uv, material)], {"b": len(solid.vertices)})
    spread = []
    for axis in ((0, 1, 0), (1, 0, 0)):
        along = np.broadcast_to(np.float32(axis), solid.normals.shape)
        along = along - (along * solid.normals).sum(1, keepdims=True) * solid.normals
        posed = {"b": evenly(solid.vertices, solid.normals, 0.0, along.astype(np.float32))}
        bright = scene.render(posed, matrix, K, size, size, lamp((0, 0, 1), sharpness=30)).color.mean(-1)
        y, x = np.mgrid[0:size, 0:size] + 0.5
        weight = bright / bright.sum()
        x, y = x - (weight * x).sum(), y - (weight * y).sum()
        spread.append(((weight * x**2).sum(), (weight * y**2).sum()))
    assert spread[0][0] > 1.2 * spread[0][1] and spread[1][1] > 1.2 * spread[1][0]


def test_hidden_layers_cost_nothing_but_change_nothing():
    """Cut-outs are drawn near to far and skipped behind what is drawn: the picture is that of any order."""
    matrix, K, size = camera()
    rng = np.random.default_rng(0)
    sheets = [square(z, 0.12) for z in rng.permutation(np.linspace(-0.1, 0.1, 9))]
    textures = []
    for _ in sheets:
        texture = rng.integers(0, 255, (8, 8, 4)).astype(np.uint8)
        texture[..., 3] = np.where(rng.random((8, 8)) < 0.6, 255, 0)
        textures.append(texture)
    pictures = []
    for order in (range(9), reversed(range(9))):
        pieces = [
            Piece(str(k), str(k), sheets[k].faces, sheets[k].corner_uv, Material(textures[k], two_sided=True)) for k in order
        ]
        scene = Scene(pieces, {piece.block: 4 for piece in pieces})
        posed = {str(k): evenly(sheets[k].vertices, sheets[k].normals) for k in range(9)}
        pictures.append(scene.render(posed, matrix, K, size, size, dark()).color)
    assert np.abs(pictures[0] - pictures[1]).max() < 1e-5 and pictures[0].std() > 0.1


def test_the_edge_of_a_cut_out_seen_large_is_soft_and_fine_in_grain():
    """From the nearest texel it would be a staircase of theirs, with a grain as coarse as they are."""
    size, side = 128, 8
    texture = np.full((side, side, 4), 255, np.uint8)
    texture[:, : side // 2, 3] = 0
    solid = square(0.0)
    scene = Scene(
        [Piece("cut", "b", solid.faces, solid.corner_uv, Material(texture, HAIR, two_sided=True))], {"b": len(solid.vertices)}
    )
    K = np.array([[size * 1.5, 0, size / 2], [0, size * 1.5, size / 2], [0, 0, 1]], np.float32)
    matrix = look_at(np.array([0.0, 0.0, 0.6]), np.zeros(3), 0.0)
    seen = scene.render({"b": evenly(solid.vertices, solid.normals)}, matrix, K, size, size, dark())
    # A texel is 16 px here: the edge goes from nothing to all within about as many.
    covered = seen.alpha[16:-16].mean(0)
    between = np.flatnonzero((covered > 0.1) & (covered < 0.9))
    assert 6 <= len(between) <= 16
    assert abs(covered[between].mean() - 0.5) < 0.1
    # Grain: neighbours in a column of the edge differ often, not once a texel.
    middle = seen.alpha[16:-16, between[len(between) // 2]]
    assert (np.diff(middle) != 0).mean() > 0.3
