"""The mesh-rendering baseline: the same network with a UV albedo on the mesh in place of Gaussians."""

from __future__ import annotations

import pytest
import torch

from sheap.geometry.cameras import Cameras, published_camera
from sheap.head import HeadModel
from sheap.networks.config import PRESETS
from sheap.networks.head_render import render_head
from sheap.networks.illumination import shade
from sheap.networks.sheap_network import SheapNetwork, start_translation_for
from sheap.networks.uv_albedo import textured_mesh
from sheap.render.mesh import rasterize_mesh
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM

SIZE = 64


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def cameras() -> Cameras:
    return published_camera(SIZE)


@pytest.fixture
def network(head: HeadModel, cameras: Cameras) -> SheapNetwork:
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    encoder = tiny.encoder.model_copy(update={"image_size": SIZE, "face_points": False})
    config = tiny.model_copy(update={"appearance": "mesh", "encoder": encoder})
    start = start_translation_for(cameras, CROP_SIDE_CM / 100, CROP_RISE_CM / 100)
    return SheapNetwork(config, head, start_translation=start)


def test_untrained_it_is_a_grey_head_over_the_background(network: SheapNetwork, cameras: Cameras) -> None:
    codes = network.encode(torch.rand(2, 3, SIZE, SIZE))
    drawn = render_head(network, codes, cameras, torch.tensor([[1.0, 0.0, 1.0]]).expand(2, 3), None)
    covered = drawn.alpha[0, ..., 0] > 0
    assert 0.2 < float(covered.float().mean()) < 0.9
    assert drawn.gaussians is None and drawn.views is None
    assert torch.equal(drawn.color[0][~covered], torch.tensor([1.0, 0.0, 1.0]).expand(int((~covered).sum()), 3))
    inside = drawn.color[0][covered].detach()
    assert float((inside.max(-1).values - inside.min(-1).values).mean()) < 0.1, "grey, but for the lamps' tint"
    assert float(inside.std()) > 0.01, "shaded"


def test_a_texel_is_seen_where_its_uv_lies(head: HeadModel, network: SheapNetwork, cameras: Cameras) -> None:
    codes = network.encode(torch.rand(1, 3, SIZE, SIZE))
    vertices, faces = head(codes.params).vertices.detach(), network.regressor.faces
    # The texture holds its own coordinates: u in red, v in green.
    side = 256
    at = (torch.arange(side) + 0.5) / side
    albedo = torch.stack([at.expand(side, side), 1 - at[:, None].expand(side, side), torch.ones(side, side)])[None]
    white = torch.zeros(1, 9, 3)
    white[:, 0] = torch.pi / (torch.pi * 0.282095)  # irradiance pi from everywhere: what is seen is the albedo
    drawn = textured_mesh(vertices, head, faces, albedo, white, cameras)
    hit = drawn.mask[0, ..., 0] > 0
    corner_uv = head.uv_coords[head.uv_faces[faces]]
    fragments = rasterize_mesh(vertices, head.faces[faces], cameras)
    seen = fragments.face_ids[0, 0][hit]
    expected = (corner_uv[seen] * fragments.barycentrics[0, 0][hit][..., None]).sum(-2)
    torch.testing.assert_close(drawn.color[0][hit][:, :2], expected, atol=0.01, rtol=0)


def test_plain_albedo_gives_the_shading_of_its_normals(head: HeadModel, network: SheapNetwork, cameras: Cameras) -> None:
    codes = network.encode(torch.rand(1, 3, SIZE, SIZE))
    vertices = head(codes.params).vertices.detach()
    lighting = network.illumination(torch.randn(1, network.config.lighting_components))
    albedo = torch.full((1, 3, 8, 8), 0.3)
    drawn = textured_mesh(vertices, head, network.regressor.faces, albedo, lighting, cameras)
    hit = drawn.mask[0, ..., 0] > 0
    normals = drawn.normals[0][hit][None]
    torch.testing.assert_close(drawn.color[0][hit], shade(torch.full_like(normals, 0.3), normals, lighting)[0])


def test_the_picture_reaches_albedo_lighting_and_geometry(network: SheapNetwork, cameras: Cameras) -> None:
    with torch.no_grad():
        network.regressor.outward.weight.normal_(std=0.5)
        for token_head in network.heads.values():
            token_head.out.weight.normal_(std=0.02)
    codes = network.encode(torch.rand(1, 3, SIZE, SIZE))
    reached = {name: getattr(codes.params, name) for name in ("shape", "expression", "root_rotvec")}
    reached |= {"lighting": codes.lighting, "features": codes.features}
    for tensor in reached.values():
        tensor.retain_grad()
    wanted = torch.rand(1, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1))
    (render_head(network, codes, cameras, torch.zeros(1, 3), None).color - wanted).square().mean().backward()
    for name, tensor in reached.items():
        assert float(tensor.grad.abs().max()) > 0, name
