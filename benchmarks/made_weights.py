"""Weight files of the true layouts and sizes with random values, where the real ones are not at hand."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from sheap.networks.config import EncoderConfig

VGG16_WIDTHS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512}
"""Output channels of VGG-16's convolutions by their place in torchvision's `features`."""
LPIPS_CHANNELS = (64, 128, 256, 512, 512)


def write_encoder(path: Path, config: EncoderConfig) -> None:
    """The vision half of a FaRL file (OpenAI's names under `state_dict`) for the encoder of `config`."""
    width, mlp = config.hidden_size, config.mlp_size
    tensors: dict[str, Tensor] = {
        "class_embedding": _random(width),
        "conv1.weight": _random(width, 3, config.patch_size, config.patch_size),
        "positional_embedding": _random(1 + (config.image_size // config.patch_size) ** 2, width),
        **_norm("ln_pre", width),
    }
    for number in range(config.num_layers):
        layer = f"transformer.resblocks.{number}"
        tensors |= _norm(f"{layer}.ln_1", width) | _norm(f"{layer}.ln_2", width)
        tensors[f"{layer}.attn.in_proj_weight"] = _random(3 * width, width)
        tensors[f"{layer}.attn.in_proj_bias"] = torch.zeros(3 * width)
        for part, out_size, in_size in (("attn.out_proj", width, width), ("mlp.c_fc", mlp, width), ("mlp.c_proj", width, mlp)):
            tensors |= {f"{layer}.{part}.weight": _random(out_size, in_size), f"{layer}.{part}.bias": torch.zeros(out_size)}
    torch.save({"state_dict": {f"visual.{name}": tensor for name, tensor in tensors.items()}}, path)


def write_dinov2(folder: Path, *, base: bool) -> None:
    """A DINOv2 folder as transformers saves it: ViT-B/14 at the released 518 px, or a thin one with its patches."""
    config = Dinov2Config(image_size=518, patch_size=14)
    if not base:
        config = Dinov2Config(
            image_size=518, patch_size=14, hidden_size=96, num_hidden_layers=2, num_attention_heads=3
        )
    Dinov2Model(config).save_pretrained(folder)


def write_lpips(backbone: Path, linear: Path) -> None:
    """VGG-16's convolutions under torchvision's names, and LPIPS's linear weights (not negative, as theirs)."""
    tensors, channels = {}, 3
    for number, width in VGG16_WIDTHS.items():
        tensors[f"features.{number}.weight"] = torch.randn(width, channels, 3, 3) * math.sqrt(2 / (9 * channels))
        tensors[f"features.{number}.bias"] = torch.zeros(width)
        channels = width
    save_file(tensors, backbone)
    torch.save({f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) / c for k, c in enumerate(LPIPS_CHANNELS)}, linear)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.02


def _norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}
