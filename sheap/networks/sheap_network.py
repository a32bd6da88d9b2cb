"""The whole network: images to head codes, and codes to Gaussians on a posed mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from sheap.geometry.cameras import Cameras
from sheap.geometry.face_frames import FaceFrames, face_frames, uv_tangent_weights
from sheap.geometry.rigging import RiggedGaussians, rig_gaussians
from sheap.head import HeadModel, HeadParams
from sheap.networks.attributes import GaussianAttributes
from sheap.networks.compact_encoder import CompactEncoder
from sheap.networks.config import CompactConfig, NetworkConfig
from sheap.networks.encoder import TOKEN_NAMES, TokenEncoder, TokenHead
from sheap.networks.gaussian_regressor import GaussianRegressor
from sheap.networks.head_codes import HeadCodes
from sheap.networks.illumination import IlluminationPrior, shade
from sheap.networks.landmark_calibration import LandmarkCalibration
from sheap.networks.uv_albedo import TexturedMesh, UvAlbedo, textured_mesh
from sheap.render.types import Splats

ROTATION_UNIT = 0.5
TRANSLATION_UNIT = 0.1
SHAPE_UNIT = 1.0
EXPRESSION_UNIT = 0.3
"""Radians, metres and coefficients (EXPRESSION_UNIT: eyelids too) per unit that a head puts out. Adam moves all outputs alike,
so the units set the pace: pose must be found before shape and expression mean anything."""


@dataclass(frozen=True)
class GaussianHead:
    """Gaussians bound to a posed mesh: `rigged` and `colors` [B, G, 3] in the world, `attributes` and the parents'
    `frames` (face axis G) they came from."""

    attributes: GaussianAttributes
    frames: FaceFrames
    rigged: RiggedGaussians
    colors: Tensor

    def splats(self) -> Splats:
        """As the rasteriser takes them."""
        return Splats(
            self.rigged.means, self.rigged.quats_wxyz, self.rigged.scales, self.attributes.opacities, self.colors
        )


class SheapNetwork(nn.Module):
    """Encoder with its heads, Gaussians regressor (or the baseline's UV albedo), illumination prior and landmark calibration
    (method.md, 2-7).

    head: the head model; it moves with the network and is no part of its weights.
    start_translation: [3] metres, where a head with the open head's origin is put before anything is learnt (others so that
    their eyes are there); `start_translation_for` gives the place where crops have it. image_feature_size: channels of the
    DINOv2 features that `gaussians` will be given; None builds the UV generator without cross-attention.
    """

    def __init__(
        self,
        config: NetworkConfig,
        head: HeadModel,
        *,
        start_translation: Tensor | None = None,
        image_feature_size: int | None = None,
        illumination_prior: Path | None = None,
    ) -> None:
        super().__init__()
        if head.uv_coords is None or head.uv_faces is None:
            raise ValueError("head model: has no UVs, over which Gaussians are laid; 'sheap head convert' makes them")
        self.config = config
        self.head = head
        mean_points = None if head.landmark_faces is None else head.landmarks(head.template)
        if isinstance(config.encoder, CompactConfig):
            if mean_points is None:
                raise ValueError("compact encoder: needs a head model with MediaPipe landmarks")
            self.encoder: CompactEncoder | TokenEncoder = CompactEncoder(config.encoder, mean_points)
        else:
            self.encoder = TokenEncoder(config.encoder, mean_points)
        start = torch.zeros(3) if start_translation is None else start_translation.detach().float().cpu()
        start = start - head.face_origin.cpu()
        grid, channels = config.regressor.feature_grid, config.regressor.feature_channels
        num_joints = len(head.joint_names)
        starts = {"pose": torch.cat([torch.zeros(3 * num_joints), start / TRANSLATION_UNIT])}
        sizes = {
            "shape": head.num_shape,
            "expression": head.num_expression + head.num_eyelids,
            "pose": 3 * num_joints + 3,
            "lighting": config.lighting_components,
            "features": channels * grid * grid,
        }
        self.heads = nn.ModuleDict(
            {
                name: TokenHead(config.encoder.hidden_size, config.encoder.head_size, sizes[name], starts.get(name))
                for name in TOKEN_NAMES
            }
        )
        # Features have no meaning of their own to start from; zero would leave the generator nothing to work on.
        nn.init.normal_(cast("TokenHead", self.heads["features"]).out.weight, std=config.encoder.head_size**-0.5)
        self.illumination = IlluminationPrior(config.lighting_components, illumination_prior)
        num_landmarks = 0 if head.landmark_faces is None else len(head.landmark_faces)
        self.landmark_calibration = LandmarkCalibration(num_landmarks)
        regressor = UvAlbedo if config.appearance == "mesh" else GaussianRegressor
        self.regressor = regressor(config.regressor, head, image_feature_size)
        weights = uv_tangent_weights(head.uv_coords, head.uv_faces)
        self.register_buffer("tangent_weights", weights[self.regressor.faces], persistent=False)

    def encode(self, images: Tensor) -> HeadCodes:
        """Images [B, 3, H, W] in [0, 1], of the configured side -> codes in float32."""
        look = self.encoder.look(images) if isinstance(self.encoder, CompactEncoder) else None
        tokens = self.encoder(images) if look is None else look.tokens
        out = {name: self.heads[name](tokens[:, k]).float() for k, name in enumerate(TOKEN_NAMES)}
        head, grid = self.head, self.config.regressor.feature_grid
        expression, eyelids = (out["expression"] * EXPRESSION_UNIT).split([head.num_expression, head.num_eyelids], dim=1)
        rotvecs, translation = out["pose"][:, :-3] * ROTATION_UNIT, out["pose"][:, -3:] * TRANSLATION_UNIT
        params = HeadParams.from_parts(
            head,
            out["shape"] * SHAPE_UNIT,
            expression,
            eyelids if head.num_eyelids else None,
            rotvecs.unflatten(1, (-1, 3)),
            translation,
        )
        return HeadCodes(params, out["lighting"], out["features"].unflatten(1, (-1, grid, grid)), look)

    def fused_shape(self, pictures: Sequence[HeadCodes]) -> Tensor:
        """One shape [B, S] of each of B people from several pictures of theirs, each picture's codes with leading dim [B].

        The compact encoder's tokens are averaged by their confidence before the shape is read, so that a picture counts by
        what it shows; other encoders' shapes are averaged evenly.
        """
        if any(codes.look is None for codes in pictures):
            return torch.stack([codes.params.shape for codes in pictures]).mean(0)
        evidence = [self.shape_evidence(codes) for codes in pictures]
        weights = torch.softmax(torch.stack([weight for _, weight in evidence]), dim=0)
        return self.shape_from((weights[..., None] * torch.stack([values for values, _ in evidence])).sum(0))

    def shape_evidence(self, codes: HeadCodes) -> tuple[Tensor, Tensor]:
        """What pictures [B] say of their people's shapes: values [B, D], which several pictures of one person are averaged
        in, and the logarithms [B] of their weights there."""
        if codes.look is None:
            return codes.params.shape, torch.zeros_like(codes.params.shape[:, 0])
        return codes.look.tokens[:, 0], codes.look.confidence

    def shape_from(self, values: Tensor) -> Tensor:
        """The shapes [B, S] that (averaged) values [B, D] of `shape_evidence` stand for."""
        return self.heads["shape"](values).float() * SHAPE_UNIT if isinstance(self.encoder, CompactEncoder) else values

    def gaussians(self, codes: HeadCodes, vertices: Tensor, image_features: Tensor | None = None) -> GaussianHead:
        """The Gaussians of `codes` (identity features and lighting) on posed meshes [B, N, 3].

        image_features: DINOv2 features [B, P, D] of the source, where the network was built for them.
        """
        assert isinstance(self.regressor, GaussianRegressor), "the mesh baseline has no Gaussians"
        attributes = self.regressor(codes.features, image_features)
        parents = self.regressor.prototypes.parents
        frames = face_frames(vertices, self.head.faces[self.regressor.faces], self.tangent_weights).select(parents)
        rigged = rig_gaussians(
            frames, self.regressor.prototypes.barycentrics, attributes.offsets, attributes.scales, attributes.quats_wxyz
        )
        colors = shade(attributes.albedos, rigged.normals, self.illumination(codes.lighting))
        return GaussianHead(attributes, frames, rigged, colors)

    def textured_mesh(
        self, codes: HeadCodes, vertices: Tensor, cameras: Cameras, image_features: Tensor | None = None
    ) -> TexturedMesh:
        """The baseline's picture of `codes` on posed meshes [B, N, 3] in one view (appearance `mesh`)."""
        albedo = self.regressor(codes.features, image_features)
        return textured_mesh(
            vertices, self.head, self.regressor.faces, albedo, self.illumination(codes.lighting), cameras
        )


def start_translation_for(cameras: Cameras, crop_side: float, crop_rise: float) -> Tensor:
    """Where the fixed camera sees the mean head as crops show it: [3] metres.

    crop_side, crop_rise: the crop rule's width at the head's origin, and how far above that origin its centre lies (metres).
    """
    focal, distance = float(cameras.K[0, 1, 1]), float(cameras.world_to_cam[0, 2, 3])
    return torch.tensor([0.0, -crop_rise, distance - crop_side * focal / cameras.height])
