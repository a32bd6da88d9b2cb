"""What a network is made of: validated, immutable, stored in every bundle. Presets for a CPU up to the published size."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Width = Annotated[int, Field(gt=0, le=8192)]
"""Channels, hidden units, features."""
Side = Annotated[int, Field(gt=0, le=2048)]
"""Pixels or cells along a side."""
Count = Annotated[int, Field(ge=0, le=128)]
"""Layers, blocks."""
Heads = Annotated[int, Field(gt=0, le=256)]
# Far above what anybody trains: they tell a broken file before its sizes are allocated.


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderConfig(_Config):
    """The vision transformer with its five learnable tokens."""

    image_size: Side
    """Side of the square crops, pixels."""
    patch_size: Side
    """Pixels a token covers along a side; the convolutional stem needs a power of two."""
    stem: Literal["patches", "convolutional"]
    """`patches`: one linear map per patch, as published. `convolutional`: learns far faster from scratch."""
    stem_width: Width
    """Channels after the convolutional stem's first halving; they double at each further one."""
    face_points: bool = False
    """Tells the tokens where a frozen, pretrained face-landmark network sees the face's points (sheap/networks/face_points.py):
    what FaRL's weights are to the published encoder, for one that learns from scratch."""
    hidden_size: Width
    num_layers: Count
    num_heads: Heads
    mlp_size: Annotated[int, Field(gt=0, le=65536)]
    head_size: Width
    """Hidden units of the MLP through which each of the five tokens leaves."""

    @model_validator(mode="after")
    def _check(self) -> EncoderConfig:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if self.stem == "convolutional" and self.patch_size & (self.patch_size - 1):
            raise ValueError(f"patch_size {self.patch_size}: the convolutional stem halves, so it must be a power of 2")
        return self

    @property
    def least_weights(self) -> int:
        """Weights that the network has at least: those of the transformer's matrices."""
        return self.num_layers * (4 * self.hidden_size**2 + 2 * self.hidden_size * self.mlp_size)


class CompactConfig(_Config):
    """The convolutional encoder in two looks (sheap/networks/compact_encoder.py)."""

    image_size: Side
    """Side of the square crops, pixels."""
    coarse_size: Side
    """Side to which the crop is shrunk for the first look, pixels."""
    coarse_channels: tuple[Width, ...] = Field(min_length=1, max_length=6)
    """Channels at each halving, from a quarter of the side on."""
    coarse_blocks: tuple[Count, ...] = Field(min_length=1, max_length=6)
    fine_size: Side
    """Side of the second look, pixels."""
    fine_side_m: float = Field(gt=0, le=1, allow_inf_nan=False)
    """How much of a head it shows, metres."""
    fine_channels: tuple[Width, ...] = Field(min_length=1, max_length=6)
    fine_blocks: tuple[Count, ...] = Field(min_length=1, max_length=6)
    coarse_features: Width
    fine_features: Width
    readings: int = Field(ge=0, le=16)
    """How often the finer maps are read again at the points that were found."""
    evidence_points: Width
    """Landmarks at which they are read."""
    evidence_channels: Width
    """Numbers read at each."""
    coarse_rank: Width
    """Numbers through which the coarse points leave; fine_rank: the fine ones; appearance_rank: lighting and looks."""
    fine_rank: Width
    appearance_rank: Width
    hidden_size: Width
    head_size: Width
    """Hidden units of the MLP through which each of the five tokens leaves."""

    @model_validator(mode="after")
    def _check(self) -> CompactConfig:
        for name in ("coarse", "fine"):
            channels, blocks, size = (getattr(self, f"{name}_{part}") for part in ("channels", "blocks", "size"))
            if len(channels) != len(blocks):
                raise ValueError(f"{name}_blocks: expected one number for each of {name}_channels ({len(channels)})")
            if size % (step := 4 << (len(channels) - 1)):
                raise ValueError(f"{name}_size {size} is not a multiple of {step}, by which {len(channels)} levels shrink it")
        return self

    @property
    def least_weights(self) -> int:
        """Weights that the network has at least: those of the blocks' convolutions, and of what reads at the points."""
        channels = (*self.coarse_channels, *self.fine_channels)
        blocks = (*self.coarse_blocks, *self.fine_blocks)
        evidence = self.evidence_points * self.evidence_channels * self.fine_features if self.readings else 0
        return evidence + sum(18 * count * width**2 for width, count in zip(channels, blocks, strict=True))


MOST_UV_SIDE = 2048


class RegressorConfig(_Config):
    """From identity features to Gaussians: UV-map generator, prototypes and face-graph network."""

    feature_channels: Width
    feature_grid: Annotated[int, Field(gt=0, le=64)]
    """The identity features f are a feature_channels x feature_grid x feature_grid map."""
    uv_channels: tuple[Width, ...] = Field(min_length=1, max_length=8)
    """Channels after each doubling of that map; its length sets the UV map's side, feature_grid * 2 ** length."""
    cross_attention_grid: Annotated[int, Field(gt=0, le=256)]
    """Side at which the UV map attends to DINOv2 features, where such features are given."""
    cross_attention_heads: Heads
    embedding_size: Width
    graph_width: Width
    graph_blocks: Count
    network: Literal["graph", "mlp"]
    """`mlp` drops the neighbours' share: each Gaussian then sees its own prototype alone."""
    gaussians_per_face: int = Field(ge=1, le=6)
    regions: tuple[str, ...]
    """Head regions whose faces carry Gaussians; none named means every face."""
    without_regions: tuple[str, ...]
    """Head regions whose faces carry none after all."""

    @model_validator(mode="after")
    def _check(self) -> RegressorConfig:
        side = self.feature_grid * 2 ** len(self.uv_channels)
        if side > MOST_UV_SIDE:
            raise ValueError(f"uv_channels: they make a UV map of {side} px a side, more than {MOST_UV_SIDE}")
        return self

    @property
    def least_weights(self) -> int:
        """Weights that the network has at least: those of the UV generator's convolutions and of its atlases."""
        channels = (self.feature_channels, *self.uv_channels)
        convolutions = sum(18 * inward * outward for inward, outward in pairwise(channels))
        return convolutions + sum(
            width * (self.feature_grid << level + 1) ** 2 for level, width in enumerate(self.uv_channels)
        )


class NetworkConfig(_Config):
    """A whole network. `lighting_components`: weights of the illumination prior that the lighting token predicts."""

    encoder: EncoderConfig | CompactConfig
    regressor: RegressorConfig
    lighting_components: int = Field(gt=0, le=27)
    appearance: Literal["gaussians", "mesh"] = "gaussians"
    """`mesh` is the baseline that the paper argues against: the mesh itself with a predicted UV albedo, and no Gaussians."""


OUTSIDE = ("skin", "eyeballs")
INSIDE = ("eye_sockets", "mouth_interior")
"""The open head's faces that a camera sees, but for teeth and tongue; and what lies behind lids and lips."""

PRESETS: dict[str, NetworkConfig] = {
    "published": NetworkConfig(
        encoder=EncoderConfig(
            image_size=224, patch_size=16, stem="patches", stem_width=1,
            hidden_size=768, num_layers=12, num_heads=12, mlp_size=3072, head_size=768,
        ),
        regressor=RegressorConfig(
            feature_channels=128, feature_grid=8, uv_channels=(256, 128, 96, 64, 32),
            cross_attention_grid=32, cross_attention_heads=8, embedding_size=64, graph_width=128, graph_blocks=4,
            network="graph", gaussians_per_face=2, regions=(), without_regions=(),
        ),
        lighting_components=16,
    ),
    "small": NetworkConfig(
        encoder=EncoderConfig(
            image_size=128, patch_size=16, stem="convolutional", stem_width=32, face_points=True,
            hidden_size=256, num_layers=6, num_heads=4, mlp_size=768, head_size=256,
        ),
        regressor=RegressorConfig(
            feature_channels=48, feature_grid=4, uv_channels=(96, 64, 48, 32),
            cross_attention_grid=16, cross_attention_heads=4, embedding_size=32, graph_width=64, graph_blocks=3,
            network="graph", gaussians_per_face=1, regions=OUTSIDE, without_regions=INSIDE,
        ),
        lighting_components=12,
    ),
    "compact": NetworkConfig(
        encoder=CompactConfig(
            image_size=192, coarse_size=96, coarse_channels=(32, 64, 112), coarse_blocks=(1, 2, 2),
            fine_size=128, fine_side_m=0.19, fine_channels=(48, 96, 192), fine_blocks=(1, 2, 2),
            coarse_features=192, fine_features=384, 
            readings=2, evidence_points=160, evidence_channels=8, coarse_rank=64, fine_rank=128, appearance_rank=64,
            hidden_size=256, head_size=320,
        ),
        regressor=RegressorConfig(
            feature_channels=16, feature_grid=4, uv_channels=(48, 32, 24, 16),
            cross_attention_grid=16, cross_attention_heads=4, embedding_size=16, graph_width=32, graph_blocks=2,
            network="graph", gaussians_per_face=1, regions=OUTSIDE, without_regions=INSIDE,
        ),
        lighting_components=9,
    ),
    "tiny": NetworkConfig(
        encoder=EncoderConfig(
            image_size=112, patch_size=16, stem="convolutional", stem_width=16, face_points=True,
            hidden_size=128, num_layers=2, num_heads=4, mlp_size=256, head_size=128,
        ),
        regressor=RegressorConfig(
            feature_channels=16, feature_grid=4, uv_channels=(48, 32, 24, 16),
            cross_attention_grid=16, cross_attention_heads=4, embedding_size=16, graph_width=32, graph_blocks=2,
            network="graph", gaussians_per_face=1, regions=OUTSIDE, without_regions=INSIDE,
        ),
        lighting_components=9,
    ),
}  # fmt: skip
"""`published`: the paper's sizes. `compact`: convolutions in two looks, for processors; the
shipped predictor's. `small`: hours on a CPU, minutes on a GPU. `tiny`: minutes on two CPU cores."""
