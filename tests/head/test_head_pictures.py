"""What a camera sees: closed eyes hide the eyeballs, a closed mouth its teeth, and landmarks sit on their features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sheap.geometry.cameras import published_camera
from sheap.head import HeadModel, HeadParams
from sheap.render.mesh import rasterize_mesh

SIZE = 320


def seen(head: HeadModel, params: HeadParams, region: str) -> Tensor:
    """Pixels [V] that show a region, from the front and half a profile to each side."""
    counts = []
    for turn in (-0.6, 0.0, 0.6):
        vertices = head(params.replace(root_rotvec=torch.tensor([0.0, turn, 0.0]))).vertices
        fragments = rasterize_mesh(vertices, head.faces, published_camera(SIZE))
        shows = head.region_faces(region)[fragments.face_ids.clamp(min=0)] & fragments.mask
        counts.append(shows.sum())
    return torch.stack(counts)


def test_the_head_fills_the_published_picture(head: HeadModel) -> None:
    fragments = rasterize_mesh(head.template, head.faces, published_camera(SIZE))
    rows = fragments.mask[0].any(1).nonzero()
    assert 0 < rows.min() < 0.1 * SIZE, "a head at the origin must fit, with little to spare"
    assert not fragments.mask[0, : SIZE // 2, : SIZE // 20].any()
    face = head.region_faces("face")[fragments.face_ids.clamp(min=0)] & fragments.mask
    assert 0.15 < face.float().mean() < 0.5


def test_no_side_of_the_skin_is_seen_from_inside(head: HeadModel) -> None:
    fragments = rasterize_mesh(head.template, head.faces, published_camera(SIZE))
    corners = head.template[head.faces[fragments.face_ids[fragments.mask]]]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    towards_camera = torch.tensor([0.0, 0.0, 1.0]) - corners.mean(1)
    assert ((normals * towards_camera).sum(1) > 0).float().mean() > 0.999


def test_closed_lids_hide_the_eyeballs(head: HeadModel, identities: Tensor) -> None:
    for shape in torch.cat([torch.zeros(1, head.num_shape), identities[:3]]):
        params = HeadParams.zeros(head).replace(shape=shape)
        opened = seen(head, params, "eyeballs")
        closed = seen(head, params.replace(eyelids=torch.ones(2)), "eyeballs")
        assert opened.min() > 100
        assert (closed <= 0.06 * opened).all(), (opened, closed)


def test_half_closed_lids_show_half_the_eyeballs(head: HeadModel) -> None:
    params = HeadParams.zeros(head)
    share = seen(head, params.replace(eyelids=torch.full((2,), 0.4)), "eyeballs") / seen(head, params, "eyeballs")
    assert (share > 0.25).all() and (share < 0.75).all()


def test_a_closed_mouth_hides_teeth_and_tongue(head: HeadModel, identities: Tensor) -> None:
    for shape in torch.cat([torch.zeros(1, head.num_shape), identities[:4]]):
        params = HeadParams.zeros(head).replace(shape=shape)
        lips = seen(head, params, "lips")
        assert (seen(head, params, "teeth") <= 0.03 * lips).all()
        assert (seen(head, params, "tongue") <= 0.03 * lips).all()


def test_an_open_mouth_shows_teeth(head: HeadModel) -> None:
    params = HeadParams.zeros(head).replace(jaw_rotvec=torch.tensor([0.25, 0.0, 0.0]))
    assert seen(head, params, "teeth")[1] > 50


@pytest.mark.parametrize("name", ["cheekPuff", "mouthSmileLeft", "mouthPucker", "mouthRollLower", "noseSneerLeft"])
def test_teeth_stay_behind_the_lips_of_an_expression(head: HeadModel, name: str) -> None:
    params = HeadParams.zeros(head).replace(expression=head.action_matrix[head.action_names.index(name)])
    assert (seen(head, params, "teeth") <= 0.06 * seen(head, params, "lips")).all()


def test_mediapipe_finds_the_landmarks_where_the_mesh_has_them(head: HeadModel) -> None:
    """A person the landmarks were not made from, looked at from an angle that was not used."""
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
    from sheap.completion.landmarks import mediapipe_detector
    from sheap.completion.portraits import orbit_camera, take_portrait
    from sheap.geometry.cameras import project

    shape = 0.7 * torch.randn(head.num_shape, generator=torch.Generator().manual_seed(99))
    vertices = head(HeadParams.zeros(head).replace(shape=shape)).vertices
    cameras = orbit_camera(9.0, 5.0, 512)
    detected = mediapipe_detector()(take_portrait(head, vertices, cameras).image)
    assert detected is not None
    pixels, depth = project(head.landmarks(vertices), cameras)
    mm_per_px = 1e3 * float(depth.mean()) / float(cameras.K[0, 0, 0])
    apart = mm_per_px * (pixels[0] - torch.as_tensor(detected[:, :2])).norm(dim=-1)
    trusted = head.landmark_weights > 0.5
    assert apart[trusted].median() < 2.5 and apart[trusted].quantile(0.95) < 6
    lips, lids = [0, 13, 14, 17, 61, 291], [33, 133, 159, 145, 263, 362, 386, 374]
    assert apart[lips].max() < 5 and apart[lids].max() < 5
    assert apart[[468, 473]].max() < 3
