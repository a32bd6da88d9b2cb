"""LPIPS (Zhang et al. 2018, arXiv 1801.03924) on VGG-16, from weights that the user has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from sheap.precision import ComputesIn

_VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Convolutions of VGG-16 between its poolings; LPIPS compares what leaves each stage."""
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""LPIPS's own input normalisation, for images in [-1, 1]."""


class Lpips(ComputesIn):
    """Frozen LPIPS. Needs VGG-16's convolutions (`features.N.weight`, torchvision's names) and LPIPS's linear weights
    (`linK.model.1.weight`, the authors' names), in one or two files, .safetensors or .pth.

    Raises ValueError naming the files and the first tensor that is missing or misshapen.
    """

    def __init__(self, backbone: Path, linear: Path) -> None:
        super().__init__()
        tensors = {**_read(backbone), **_read(linear)}
        self.stages = nn.ModuleList()
        number, channels = 0, 3
        for index, widths in enumerate(_VGG16_STAGES):
            layers: list[nn.Module] = []
            if index:
                layers.append(nn.MaxPool2d(2))
                number += 1
            for width in widths:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                _fill(convolution.weight, tensors, f"features.{number}.weight", backbone)
                assert convolution.bias is not None
                _fill(convolution.bias, tensors, f"features.{number}.bias", backbone)
                layers += [convolution, nn.ReLU()]
                channels, number = width, number + 2
            self.stages.append(nn.Sequential(*layers))
            weights = nn.Parameter(torch.empty(1, channels, 1, 1))
            _fill(weights, tensors, f"lin{index}.model.1.weight", linear)
            self.register_parameter(f"linear_{index}", weights)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1))
        self.requires_grad_(False)

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Mean LPIPS of images [B, H, W, 3] in [0, 1]; gradients reach the images. Scalar."""
        both = torch.cat([rendered, target]).permute(0, 3, 1, 2) * 2 - 1
        features = (both - self.shift) / self.scale
        total = rendered.new_zeros(())
        for index, stage in enumerate(self.stages):
            with self.computing(features):
                features = stage(features)
            # Distances of nearly equal images are small differences of unit vectors: float32.
            unit = F.normalize(features.float(), dim=1, eps=1e-10)
            ours, theirs = unit.chunk(2)
            total = total + ((ours - theirs).square() * getattr(self, f"linear_{index}")).sum(1).mean()
        return total


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: LPIPS weights not found")
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: not readable as tensors ({type(error).__name__}: {error})") from None


def _fill(parameter: Tensor, tensors: Mapping[str, Tensor], name: str, path: Path) -> None:
    value = tensors.get(name)
    if value is None or value.shape != parameter.shape:
        found = "missing" if value is None else f"of shape {list(value.shape)}"
        raise ValueError(f"{path}: LPIPS needs '{name}' {list(parameter.shape)}; it is {found}")
    with torch.no_grad():
        parameter.copy_(value)
