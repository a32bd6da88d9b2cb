"""Identity features to a feature map over the head's UV atlas (lightweight-GAN style blocks, arXiv 2101.04775)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sheap.networks.config import RegressorConfig
from sheap.precision import ComputesIn


class UvGenerator(ComputesIn):
    """f [B, C, g, g] to M [B, C', g 2^k, g 2^k]: doubling blocks, with cross-attention to image features at one size.

    `image_feature_size` is the channel count of the frozen DINOv2 features; None builds no cross-attention.
    """

    def __init__(self, config: RegressorConfig, image_feature_size: int | None) -> None:
        super().__init__()
        sides = [config.feature_grid << (level + 1) for level in range(len(config.uv_channels))]
        if image_feature_size is not None and config.cross_attention_grid not in sides:
            raise ValueError(
                f"cross_attention_grid: {config.cross_attention_grid} is none of the UV map's sides {sides}"
            )
        # The layout that all identities share is learnt once, not squeezed through f.
        self.shared_layout = nn.Parameter(
            torch.randn(config.feature_channels, config.feature_grid, config.feature_grid) * 0.1
        )
        self.blocks = nn.ModuleList()
        channels = config.feature_channels
        for side, width in zip(sides, config.uv_channels, strict=True):
            attention = None
            if image_feature_size is not None and side == config.cross_attention_grid:
                attention = CrossAttention(width, side, image_feature_size, config.cross_attention_heads)
            self.blocks.append(UpsamplingBlock(channels, width, side, attention))
            channels = width
        self.out_channels = channels

    def forward(self, features: Tensor, image_features: Tensor | None) -> Tensor:
        """features [B, C, g, g], image_features [B, P, D] (needed exactly when built for them) -> [B, C', S, S],
        float32."""
        with self.computing(features):
            uv_map = features + self.shared_layout
            for block in self.blocks:
                uv_map = block(uv_map, image_features)
        return uv_map.float()


class UpsamplingBlock(nn.Module):
    """Doubles the side, convolves into a gated unit, adds a learnt map of the atlas, then attends where asked to."""

    def __init__(self, channels: int, width: int, side: int, attention: CrossAttention | None) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.convolve = nn.Conv2d(channels, 2 * width, 3, padding=1)
        self.norm = nn.GroupNorm(1, 2 * width)
        self.atlas = nn.Parameter(torch.zeros(width, side, side))
        self.attention = attention

    def forward(self, uv_map: Tensor, image_features: Tensor | None) -> Tensor:
        uv_map = nn.functional.glu(self.norm(self.convolve(self.upsample(uv_map))), dim=1) + self.atlas
        return uv_map if self.attention is None else self.attention(uv_map, image_features)


class CrossAttention(nn.Module):
    """Cells of the UV map query the image's features. Cells carry learnt positions: a texel knows where it belongs."""

    def __init__(self, width: int, side: int, image_feature_size: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.image_norm = nn.LayerNorm(image_feature_size)
        self.positions = nn.Parameter(torch.randn(side * side, width) * 0.02)
        self.attend = nn.MultiheadAttention(
            width, num_heads, kdim=image_feature_size, vdim=image_feature_size, batch_first=True
        )

    def forward(self, uv_map: Tensor, image_features: Tensor | None) -> Tensor:
        if image_features is None:
            raise ValueError("image_features: this UV generator was built with cross-attention and needs them")
        cells = uv_map.flatten(2).transpose(1, 2)
        keys = self.image_norm(image_features)
        attended, _ = self.attend(self.norm(cells) + self.positions, keys, keys, need_weights=False)
        return uv_map + attended.transpose(1, 2).unflatten(2, uv_map.shape[2:])
