"""bfloat16 networks: what leaves them is float32 and near the float32 values, and geometry never sees less."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from benchmarks.made_weights import write_lpips
from sheap.data.frames import Frames, Pairs
from sheap.geometry.cameras import published_camera
from sheap.head import HeadModel
from sheap.losses.lpips import Lpips
from sheap.networks.config import PRESETS
from sheap.networks.dinov2 import Dinov2Features
from sheap.networks.head_codes import HeadCodes
from sheap.networks.sheap_network import SheapNetwork
from sheap.precision import ComputesIn, resolve_precision, set_compute_dtype
from sheap.training import step as step_module
from sheap.training.landmark_head import landmark_head
from sheap.training.state import TrainingState
from sheap.training.step import Models, training_step
from tests.training.test_loop import made_config

TINY = PRESETS["tiny"]
SIZE = TINY.encoder.image_size


def relative_error(values: Tensor, reference: Tensor) -> float:
    return float((values - reference).detach().norm() / reference.detach().norm())


@pytest.fixture(scope="module")
def head() -> HeadModel:
    torch.set_num_threads(1)
    return HeadModel.load()


@pytest.fixture(scope="module")
def network(head: HeadModel) -> SheapNetwork:
    """The tiny preset with cross-attention, its last layers off zero, so that every part speaks."""
    torch.manual_seed(0)
    start = torch.tensor([0.0, -0.015, -0.16])
    network = SheapNetwork(TINY, head, start_translation=start, image_feature_size=12)
    with torch.no_grad():
        for layer in [*(module.out for module in network.heads.values()), network.regressor.outward]:
            layer.weight.normal_(std=0.1)
    return network


@dataclasses.dataclass(frozen=True)
class Outputs:
    codes: HeadCodes
    vertices: Tensor
    attributes: dict[str, Tensor]
    gradients: dict[str, Tensor]


def tensors_of(codes: HeadCodes) -> dict[str, Tensor]:
    """All its tensors, by name."""
    return vars(codes.params) | {"lighting": codes.lighting, "features": codes.features}


def run(network: SheapNetwork, dtype: torch.dtype) -> Outputs:
    """Forward and backward on fixed pictures, features and loss."""
    set_compute_dtype([network], dtype)
    network.zero_grad()
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    codes = network.encode(images)
    vertices = network.head(codes.params).vertices
    gaussians = network.gaussians(codes, vertices, torch.randn(2, 20, 12, generator=torch.Generator().manual_seed(1)))
    attributes = {field.name: getattr(gaussians.attributes, field.name) for field in dataclasses.fields(gaussians.attributes)}
    outputs = [*tensors_of(codes).values(), *attributes.values(), gaussians.colors]
    sum(value.square().mean() for value in outputs).backward()
    set_compute_dtype([network], torch.float32)
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return Outputs(codes, vertices, attributes, gradients)


@pytest.fixture(scope="module")
def outputs(network: SheapNetwork) -> tuple[Outputs, Outputs]:
    return run(network, torch.float32), run(network, torch.bfloat16)


def test_auto_is_bfloat16_on_a_gpu_alone() -> None:
    assert resolve_precision("auto", "cuda") == torch.bfloat16 and resolve_precision("auto", "cpu") == torch.float32
    assert resolve_precision("float32", "cuda") == torch.float32
    assert resolve_precision("bfloat16", "cpu") == torch.bfloat16


def test_codes_are_float32_and_near(outputs: tuple[Outputs, Outputs]) -> None:
    exact, rough = outputs
    reference = tensors_of(exact.codes)
    for name, value in tensors_of(rough.codes).items():
        assert value.dtype == torch.float32 and torch.isfinite(value).all(), name
        # Measured: 0.012 % to 0.13 % (eyelids).
        assert relative_error(value, reference[name]) < 0.004, name
    assert not torch.equal(exact.codes.params.shape, rough.codes.params.shape), "bfloat16 took part"
    assert rough.vertices.dtype == torch.float32
    # Metres; measured 0.036 mm.
    assert float((rough.vertices - exact.vertices).detach().abs().max()) < 1e-4


def test_attributes_are_float32_and_near(outputs: tuple[Outputs, Outputs]) -> None:
    exact, rough = outputs
    # Measured: offsets 0.7 %, quaternions 0.5 %, scales 0.4 %, albedos 0.3 %, opacities 0.1 %.
    for name, value in rough.attributes.items():
        assert value.dtype == torch.float32 and torch.isfinite(value).all(), name
        assert relative_error(value, exact.attributes[name]) < 0.02, name


def test_gradients_are_float32_and_near(outputs: tuple[Outputs, Outputs]) -> None:
    exact, rough = outputs
    assert rough.gradients.keys() == exact.gradients.keys()
    for name, gradient in rough.gradients.items():
        assert gradient.dtype == torch.float32 and torch.isfinite(gradient).all(), name
    ours, theirs = (torch.cat([g.flatten() for g in each.gradients.values()]) for each in (rough, exact))
    # Measured 0.8 %.
    assert relative_error(ours, theirs) < 0.03
    assert float(torch.cosine_similarity(ours, theirs, dim=0)) > 0.999


def made_pairs(seed: int) -> Pairs:
    generator = torch.Generator().manual_seed(seed)

    def frames() -> Frames:
        images = torch.rand(2, SIZE, SIZE, 3, generator=generator)
        landmarks = torch.rand(2, 478, 2, generator=generator) * SIZE
        return Frames((images * 255).to(torch.uint8), torch.full((2, SIZE, SIZE), 255, dtype=torch.uint8), landmarks)

    return Pairs(frames(), frames())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_networks_run_under_autocast(
    head: HeadModel, network: SheapNetwork, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[bool]] = {}

    def note(name: str) -> None:
        seen.setdefault(name, set()).add(torch.is_autocast_enabled("cpu"))

    own = copy.deepcopy(network, {id(network.head): network.head})
    small = landmark_head(head)
    watched: dict[str, nn.Module] = {
        "transformer": own.encoder.layers, "face mesh": own.encoder.face_points.face_mesh.first, "token head": own.heads["pose"],
        "uv map": own.regressor.uv_generator.blocks[0], "graph": own.regressor.blocks[0], "last layer": own.regressor.outward,
        "head": own.head, "landmark head": small,
    }  # fmt: skip
    hooks = [m.register_forward_hook(lambda *_, name=name: note(name)) for name, m in watched.items()]
    for name in ("photometric_loss", "landmark_loss", "depth_consistency", "ssim_loss"):
        original = getattr(step_module, name)

        def loss(*values: Tensor, name: str = name, original=original) -> Tensor:
            note(name)
            assert all(v.dtype == torch.float32 for v in values if isinstance(v, Tensor)), name
            return original(*values)

        monkeypatch.setattr(step_module, name, loss)

    def features(images: Tensor) -> Tensor:
        note("image features")
        return torch.ones(len(images), 20, 12) * images.mean()

    set_compute_dtype([own], dtype)
    models = Models(own, small, published_camera(SIZE), dinov2=features)
    result = training_step(models, made_pairs(0), torch.rand(2, 3), made_config(), rendered_pairs=1)
    for hook in hooks:
        hook.remove()
    assert torch.isfinite(result.loss) and result.loss.dtype == torch.float32
    in_bfloat16 = {name for name, states in seen.items() if True in states}
    assert in_bfloat16 == ({"transformer", "uv map", "graph"} if dtype == torch.bfloat16 else set())
    assert all(len(states) == 1 for states in seen.values()) and len(seen) == len(watched) + 5


def test_float32_means_float32_under_a_callers_autocast(network: SheapNetwork) -> None:
    images, features = torch.rand(1, 3, SIZE, SIZE), torch.rand(1, 16, 4, 4)
    image_features = torch.rand(1, 20, 12)
    with torch.no_grad():
        points, uv_map = network.encoder.face_points(images), network.regressor.uv_generator(features, image_features)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert network.heads["shape"].inner(torch.ones(1, TINY.encoder.hidden_size)).dtype == torch.bfloat16
            assert torch.equal(network.encoder.face_points(images), points)
            assert torch.equal(network.regressor.uv_generator(features, image_features), uv_map)


def test_the_average_computes_as_the_network_does(network: SheapNetwork) -> None:
    own = copy.deepcopy(network, {id(network.head): network.head})
    set_compute_dtype([own, None], torch.bfloat16)
    average = TrainingState.start(own, made_config()).average.network
    assert average.encoder.compute_dtype == average.regressor.compute_dtype == torch.bfloat16
    assert network.encoder.compute_dtype == torch.float32, "no other network is touched"
    parts = [part for part in own.modules() if isinstance(part, ComputesIn)]
    assert len(parts) == 3 and all(p.dtype == torch.float32 for p in own.parameters())


def test_dinov2_features_are_float32_and_near(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    features = Dinov2Features(tmp_path)
    images = torch.rand(1, 3, 40, 40)
    exact = features(images)
    set_compute_dtype([features], torch.bfloat16)
    rough = features(images)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    # Measured 0.29 %.
    assert relative_error(rough, exact) < 0.01


def test_lpips_is_float32_and_near(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_lpips(tmp_path / "vgg16.safetensors", tmp_path / "lpips.pth")
    lpips = Lpips(tmp_path / "vgg16.safetensors", tmp_path / "lpips.pth")
    target = torch.rand(1, 32, 32, 3)
    rendered = (target + 0.1 * torch.randn(1, 32, 32, 3)).requires_grad_()
    exact = lpips(rendered, target)
    (exact_gradient,) = torch.autograd.grad(exact, rendered)
    set_compute_dtype([lpips], torch.bfloat16)
    rough = lpips(rendered, target)
    (gradient,) = torch.autograd.grad(rough, rendered)
    assert rough.dtype == gradient.dtype == torch.float32 and not torch.equal(rough, exact)
    # Measured: 0.03 %, and 5.8 % of the gradient, which thirteen layers round on the way back.
    assert relative_error(rough, exact) < 0.002
    assert relative_error(gradient, exact_gradient) < 0.1
    # What is the same costs nothing.
    assert float(lpips(target, target)) == 0.0
