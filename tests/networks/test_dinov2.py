"""Frozen DINOv2 features from a folder, and folders that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

from sheap.networks.dinov2 import Dinov2Features


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
    return tmp_path / "dinov2"


def test_features_are_the_models_own_patches_and_pull_on_the_picture_alone(folder: Path) -> None:
    features = Dinov2Features(folder).train()
    assert features.size == 32 and not features.model.training, "stays in evaluation mode"
    images = torch.rand(1, 3, 224, 224, requires_grad=True)
    found = features(images)
    normalised = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    expected = Dinov2Model.from_pretrained(folder).eval()(normalised).last_hidden_state
    assert found.shape == (1, 16 * 16, 32) and expected.shape[1] == 1 + 16 * 16
    torch.testing.assert_close(found, expected[:, 1:], atol=1e-5, rtol=0)
    found.square().sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert not any(p.requires_grad for p in features.parameters())


def test_folders_that_hold_no_whole_model_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent: no DINOv2 model here \(config.json is missing\)"):
        Dinov2Features(tmp_path / "absent")
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    cut = {name: value for name, value in tensors.items() if "layer.1.mlp.fc2.weight" not in name}
    assert len(cut) == len(tensors) - 1
    save_file(cut, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"dinov2: DINOv2 weights lack .*layer\.1\.mlp\.fc2\.weight"):
        Dinov2Features(folder)
    weights.write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"dinov2: DINOv2 cannot be loaded"):
        Dinov2Features(folder)
    weights.unlink()
    with pytest.raises(ValueError, match=r"dinov2: DINOv2 cannot be loaded"):
        Dinov2Features(folder)


def test_a_model_of_another_kind_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 48}))
    with pytest.raises(ValueError, match="dinov2"):
        Dinov2Features(folder)
