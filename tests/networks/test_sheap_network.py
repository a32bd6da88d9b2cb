"""The whole network on the open head: what it says untrained, where its Gaussians go, what a motion of the head changes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sheap.geometry.cameras import Cameras, published_camera
from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel
from sheap.networks.attributes import START_ALBEDO, START_OPACITY, activate
from sheap.networks.config import PRESETS, NetworkConfig
from sheap.networks.gaussian_regressor import covered_faces
from sheap.networks.head_codes import HeadCodes, reenact
from sheap.networks.sheap_network import SheapNetwork, start_translation_for
from sheap.render.splatting import rasterize_splats
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM

SIZE = 64


def tiny_config(**regressor: object) -> NetworkConfig:
    """The tiny preset at 64 px."""
    tiny = PRESETS["tiny"]
    return NetworkConfig(
        encoder=tiny.encoder.model_copy(update={"image_size": SIZE}),
        regressor=tiny.regressor.model_copy(update=regressor),
        lighting_components=tiny.lighting_components,
    )


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def network(head: HeadModel) -> SheapNetwork:
    torch.manual_seed(0)
    start = start_translation_for(published_camera(SIZE), CROP_SIDE_CM / 100, CROP_RISE_CM / 100)
    return SheapNetwork(tiny_config(), head, start_translation=start)


def encode(network: SheapNetwork, count: int = 2, seed: int = 0) -> HeadCodes:
    return network.encode(torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)))


def unsettle(network: SheapNetwork, scale: float, seed: int = 0) -> None:
    """Moves every last layer off zero, so that images, features and embeddings matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in (*network.heads.values(), network.regressor):
            last = module.out if hasattr(module, "out") else module.outward
            last.weight.normal_(std=scale)


def test_untrained_prediction_is_the_mean_head_frontal_and_where_crops_have_it(network: SheapNetwork) -> None:
    codes = encode(network)
    for name, value in (vars(codes.params) | {"lighting": codes.lighting}).items():
        if name != "translation":
            assert float(value.detach().abs().max()) == 0.0, name
    cameras = published_camera(SIZE)
    origin_in_cam = cameras.world_to_cam[0] @ torch.cat([codes.params.translation[0].detach(), torch.ones(1)])
    seen_width = float(origin_in_cam[2] * SIZE / cameras.K[0, 0, 0])
    assert seen_width == pytest.approx(CROP_SIDE_CM / 100, rel=1e-4)
    # The crop's centre lies above the head's origin; y points down in the camera.
    assert float(origin_in_cam[1]) == pytest.approx(CROP_RISE_CM / 100, abs=1e-6)


def test_untrained_render_is_a_plausible_grey_head(network: SheapNetwork) -> None:
    codes = encode(network, 1)
    vertices = network.head(codes.params).vertices
    splats = network.gaussians(codes, vertices).splats()
    with torch.no_grad():
        views = rasterize_splats(splats, published_camera(SIZE), background=torch.tensor([1.0, 0.0, 1.0]))
    image, alpha = views.color[0, 0], views.alpha[0, 0, ..., 0]
    covered = alpha > 0.95
    assert 0.25 < float(covered.float().mean()) < 0.7
    assert bool(covered[SIZE // 2, SIZE // 2]) and float(alpha[2, 2]) < 0.05 and float(alpha[2, -3]) < 0.05
    skin = image[covered]
    assert float((skin.amax(-1) - skin.amin(-1)).mean()) < 0.1, "grey"
    assert 0.25 < float(skin.mean()) < 0.8 and float(skin.std()) > 0.02, "lit, and shaded"
    # No holes: what the head's outline encloses is covered.
    rows = covered[SIZE // 4 : 3 * SIZE // 4]
    for row in rows:
        columns = row.nonzero().flatten()
        assert float(row[columns.min() : columns.max() + 1].float().mean()) > 0.97


def test_reenactment_takes_identity_from_one_and_motion_from_the_other(network: SheapNetwork) -> None:
    first, second = encode(network, 2).split([1, 1])
    mixed = reenact(first.map(torch.ones_like), second.map(torch.zeros_like))
    values = vars(mixed.params) | {"lighting": mixed.lighting, "features": mixed.features}
    from_first = {name for name, value in values.items() if float(value.mean()) == 1.0}
    assert all(float(value.mean()) in (0.0, 1.0) for value in values.values())
    assert from_first == {"shape", "lighting", "features"}


def test_zero_attributes_are_the_documented_start() -> None:
    start = activate(torch.zeros(2, 5, 14), torch.tensor([1.0, 1.0, 1.0, 4.0, 4.0]))
    assert float(start.offsets.abs().max()) == 0
    torch.testing.assert_close(start.quats_wxyz[0, 0], torch.tensor([1.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(start.albedos, torch.full((2, 5, 3), START_ALBEDO))
    torch.testing.assert_close(start.opacities, torch.full((2, 5), START_OPACITY))
    torch.testing.assert_close(start.scales[0, 3], start.scales[0, 0] / 2)


def test_attributes_stay_bounded_whatever_the_network_says() -> None:
    wild = activate(torch.randn(1, 200, 14) * 1e4, torch.ones(200))
    for field in dataclasses.fields(wild):
        assert torch.isfinite(getattr(wild, field.name)).all(), field.name
    assert float(wild.offsets.abs().max()) <= 8.0 and float(wild.scales.max()) < 4 and float(wild.scales.min()) > 0.05


def test_covered_faces_leave_out_what_is_named(head: HeadModel) -> None:
    everything, outside = covered_faces(head, (), ()), covered_faces(head, ("skin", "eyeballs"), ("mouth_interior",))
    assert len(everything) == head.num_faces
    left_out = head.region_faces("mouth_interior") | head.region_faces("tongue")
    assert not left_out[outside].any() and head.region_faces("nose")[outside].sum() == head.region_faces("nose").sum()
    with pytest.raises(ValueError, match="halo"):
        covered_faces(head, ("halo",), ())


def test_features_and_embeddings_reach_the_colours(head: HeadModel) -> None:
    torch.manual_seed(1)
    network = SheapNetwork(tiny_config(), head)
    unsettle(network, 0.2)
    codes = encode(network)
    vertices = head(codes.params).vertices
    colors = network.gaussians(codes, vertices).colors
    assert float((colors[0] - colors[1]).abs().mean()) > 1e-4, "two images' heads differ"
    colors.sum().backward()
    moved = {
        name.split(".")[0]
        for name, p in network.regressor.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    assert {"uv_generator", "prototypes", "inward", "blocks", "outward"} <= moved
    assert network.encoder.tokens.grad.abs().max() > 0


def test_turning_and_moving_head_and_camera_together_changes_no_pixel(head: HeadModel) -> None:
    torch.manual_seed(2)
    network = SheapNetwork(tiny_config(), head, start_translation=torch.tensor([0.0, -0.015, -0.16]))
    unsettle(network, 0.1)
    codes = encode(network, 1)
    # Light stays with the world, so it is made the same from everywhere.
    network.illumination.mean[1:] = 0
    codes = dataclasses.replace(codes, lighting=torch.zeros_like(codes.lighting))
    cameras = published_camera(SIZE)
    vertices = head(codes.params).vertices
    rotation, shift = rotvec_to_matrix(torch.tensor([0.3, -0.9, 0.2])), torch.tensor([0.2, 0.1, -0.3])
    to_old = torch.eye(4)
    to_old[:3, :3], to_old[:3, 3] = rotation.T, -rotation.T @ shift
    moved_cameras = Cameras(cameras.world_to_cam @ to_old, cameras.K, SIZE, SIZE)
    with torch.no_grad():
        background = torch.tensor([0.2, 0.4, 0.6])
        still = rasterize_splats(network.gaussians(codes, vertices).splats(), cameras, background=background)
        moved = rasterize_splats(
            network.gaussians(codes, vertices @ rotation.T + shift).splats(), moved_cameras, background=background
        )
    # Measured 1.2e-3: splats that just pass the opacity threshold, in float32.
    assert float((still.color - moved.color).abs().max()) < 0.01
    assert float((still.color - moved.color).abs().mean()) < 1e-5
    torch.testing.assert_close(moved.depth, still.depth, atol=2e-4, rtol=0)


def test_weights_leave_the_head_model_out(network: SheapNetwork) -> None:
    assert not [name for name in network.state_dict() if name.startswith("head.")]


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_cross_attention_needs_its_features_and_uses_them(head: HeadModel, name: str) -> None:
    torch.manual_seed(3)
    network = SheapNetwork(PRESETS[name], head, image_feature_size=12)
    unsettle(network, 0.2)
    grid, channels = PRESETS[name].regressor.feature_grid, PRESETS[name].regressor.feature_channels
    features = torch.randn(1, channels, grid, grid)
    with torch.no_grad():
        first = network.regressor(features, torch.randn(1, 20, 12))
        second = network.regressor(features, torch.randn(1, 20, 12))
        assert float((first.albedos - second.albedos).abs().max()) > 1e-5
        with pytest.raises(ValueError, match="image_features"):
            network.regressor(features, None)


@pytest.mark.slow
def test_the_published_size_builds_and_encodes(head: HeadModel) -> None:
    config = PRESETS["published"]
    network = SheapNetwork(config, head, image_feature_size=None)
    # ViT-B/16 without its pooler: 85.8 million; two Gaussians on every face.
    assert sum(p.numel() for p in network.encoder.parameters()) == pytest.approx(85.8e6, rel=0.01)
    assert len(network.regressor.prototypes) == 2 * head.num_faces
    with torch.no_grad():
        codes = network.encode(torch.rand(1, 3, 224, 224))
        gaussians = network.gaussians(codes, head(codes.params).vertices)
    assert gaussians.colors.shape == (1, 2 * head.num_faces, 3)
