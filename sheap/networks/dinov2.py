"""Frozen DINOv2 features, from a local folder that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Dinov2Model

from sheap.precision import ComputesIn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INPUT_SIZE = 224


class Dinov2Features(ComputesIn):
    """Patch features of a frozen DINOv2 (transformers' folder layout: config.json and weights). Never downloads.

    Raises ValueError when the folder does not hold such a model or its weights are incomplete.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder}: no DINOv2 model here (config.json is missing)")
        try:
            loaded = Dinov2Model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        except Exception as error:
            raise ValueError(f"{folder}: DINOv2 cannot be loaded ({type(error).__name__}: {error})") from None
        model, report = cast("tuple[Dinov2Model, dict[str, Any]]", loaded)  # as output_loading_info asks for
        if report["missing_keys"]:
            raise ValueError(f"{folder}: DINOv2 weights lack {sorted(report['missing_keys'])[0]}")
        self.model = model.eval().requires_grad_(False)
        self.size: int = model.config.hidden_size
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Dinov2Features:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] -> patch features [B, P, size], float32; gradients reach the images, not the weights."""
        resized = nn.functional.interpolate(images, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True)
        with self.computing(images):
            out = self.model((resized - self.pixel_mean) / self.pixel_std).last_hidden_state
        return out[:, 1:].float()
