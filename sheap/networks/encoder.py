"""Vision transformer with five learnable tokens (TokenFace-style), CLIP's layer arrangement so that FaRL fits."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPEncoder

from sheap.networks.config import EncoderConfig
from sheap.networks.face_points import FacePoints
from sheap.precision import ComputesIn

TOKEN_NAMES = ("shape", "expression", "pose", "lighting", "features")
"""The five tokens, in the order in which they are appended."""

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's published input normalisation, which FaRL's weights expect."""


class TokenEncoder(ComputesIn):
    """Images to five tokens.

    Class and patch tokens carry position embeddings and pass CLIP's first LayerNorm; the five tokens are appended
    after it, without position. With the `patches` stem and the published sizes this is CLIP's ViT-B/16 and its
    parameter names are kept apart from the rest (`patch_embedding`, `class_embedding`, `position_embedding`,
    `pre_norm`, `layers`), so that `encoder_weights` can fill them.

    Stem and transformer run in `compute_dtype`; the face's points are found, and become part of the tokens, in float32.

    mean_points: [478, 3] metres, the mean head's landmarks; needed where the configuration has `face_points`.
    """

    def __init__(self, config: EncoderConfig, mean_points: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        grid = config.image_size // config.patch_size
        if config.stem == "patches":
            self.patch_embedding: nn.Module = nn.Conv2d(
                3, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False
            )
        else:
            self.patch_embedding = ConvolutionalStem(config.patch_size, config.stem_width, config.hidden_size)
        if config.face_points:
            if mean_points is None:
                raise ValueError("encoder.face_points: needs a head model with MediaPipe landmarks")
            self.face_points = FacePoints(mean_points)
            # Handed to the tokens at once: reading places off the patches by attention takes far longer to learn.
            self.places = nn.Linear(FacePoints.num_features, config.hidden_size)
        self.class_embedding = nn.Parameter(torch.randn(config.hidden_size) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(1 + grid * grid, config.hidden_size) * 0.02)
        self.tokens = nn.Parameter(torch.randn(len(TOKEN_NAMES), config.hidden_size) * 0.02)
        self.pre_norm = nn.LayerNorm(config.hidden_size)
        layers_config = CLIPVisionConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.mlp_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            hidden_act="quick_gelu",
            # Every configuration of transformers takes it, declared or not.
            attn_implementation="sdpa",  # pyrefly: ignore[unexpected-keyword]
        )
        # The encoder is made from the part's configuration, though it is annotated with that of the whole.
        self.layers = CLIPEncoder(cast("CLIPConfig", layers_config))
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of the configured side -> tokens [B, 5, hidden_size], float32.

        Raises ValueError for another size.
        """
        side = self.config.image_size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images: expected [B, 3, {side}, {side}], got {list(images.shape)}")
        count = images.shape[0]  # len() would become a constant in an export
        tokens = self.tokens.expand(count, -1, -1)
        if self.config.face_points:
            tokens = tokens + self.places(self.face_points(images))[:, None]
        with self.computing(images):
            patches = self.patch_embedding((images - self.pixel_mean) / self.pixel_std).flatten(2).transpose(1, 2)
            # float32 between the layers: a residual stream in bfloat16 would lose small updates.
            known = torch.cat([self.class_embedding.expand(count, 1, -1), patches.float()], 1)
            known = self.pre_norm(known + self.position_embedding).float()
            out = self.layers(inputs_embeds=torch.cat([known, tokens], 1)).last_hidden_state
        return out[:, -len(TOKEN_NAMES) :].float()


class ConvolutionalStem(nn.Module):
    """Halving convolutions down to one cell a patch, a residual block at each of the last two sizes.

    Early convolutions make small transformers train much faster from scratch (arXiv 2106.14881).
    """

    def __init__(self, patch_size: int, width: int, out_channels: int) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        layers: list[nn.Module] = []
        channels = 3
        for level in range(halvings):
            layers.append(nn.Conv2d(channels, width << level, 3, stride=2, padding=1))
            channels = width << level
            layers += [nn.GroupNorm(max(1, channels // 16), channels), nn.ReLU(inplace=True)]
            if level >= halvings - 2:
                layers.append(ResidualBlock(channels))
        layers.append(nn.Conv2d(channels, out_channels, 1))
        self.layers = nn.Sequential(*layers)
        # torch's default lets the signal shrink by 1/sqrt(3) a layer, until the biases outweigh the picture.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> cells [B, out_channels, H / patch, W / patch]."""
        return self.layers(images)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, group-normalised (no batch statistics: resume and EMA stay exact)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(max(1, channels // 16), channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, cells: Tensor) -> Tensor:
        return cells + self.layers(cells)


class TokenHead(nn.Module):
    """LayerNorm and MLP through which one token leaves. The last layer starts as a constant: `start` [D] (or zero)."""

    def __init__(self, hidden_size: int, head_size: int, out_size: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Linear(hidden_size, head_size)
        self.out = nn.Linear(head_size, out_size)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if start is not None:
            with torch.no_grad():
                self.out.bias.copy_(start)

    def forward(self, token: Tensor) -> Tensor:
        """[B, hidden_size] -> [B, out_size]."""
        return self.out(nn.functional.gelu(self.inner(self.norm(token))))
