"""The mesh-rendering baseline: an albedo over the UV atlas from the same features, and the shaded mesh that wears it.

What DECA and its successors supervise with, and what the paper's Gaussians are to beat. Encoder, UV generator, lighting and
losses are those of the Gaussians, so that only the rendering differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sheap.geometry.cameras import Cameras
from sheap.head import HeadModel
from sheap.networks.attributes import START_ALBEDO
from sheap.networks.config import RegressorConfig
from sheap.networks.gaussian_regressor import covered_faces
from sheap.networks.illumination import shade
from sheap.networks.uv_generator import UvGenerator
from sheap.render.mesh import interpolate, mesh_normals, rasterize_mesh


class UvAlbedo(nn.Module):
    """Identity features to an albedo over the UV atlas, grey before anything is learnt.

    faces: [F] int64, the faces of the head model that are drawn: those that would carry Gaussians.
    """

    def __init__(self, config: RegressorConfig, head: HeadModel, image_feature_size: int | None) -> None:
        super().__init__()
        self.register_buffer("faces", covered_faces(head, config.regions, config.without_regions), persistent=False)
        self.uv_generator = UvGenerator(config, image_feature_size)
        self.outward = nn.Conv2d(self.uv_generator.out_channels, 3, 1)
        nn.init.zeros_(self.outward.weight)
        assert self.outward.bias is not None
        nn.init.constant_(self.outward.bias, torch.logit(torch.tensor(START_ALBEDO)).item())

    def forward(self, features: Tensor, image_features: Tensor | None = None) -> Tensor:
        """Identity features [B, C, g, g] (and DINOv2 features [B, P, D], where built for them) -> albedos [B, 3, S, S] in
        (0, 1), rows from the top of the atlas."""
        return torch.sigmoid(self.outward(self.uv_generator(features, image_features)).float())


@dataclass(frozen=True)
class TexturedMesh:
    """color, normals [B, H, W, 3] and mask [B, H, W, 1] (1 where the mesh is seen); colour and normals are 0 elsewhere."""

    color: Tensor
    mask: Tensor
    normals: Tensor


def textured_mesh(
    vertices: Tensor, head: HeadModel, faces: Tensor, albedo: Tensor, lighting: Tensor, cameras: Cameras
) -> TexturedMesh:
    """Draws `faces` [F'] of the head on posed vertices [B, N, 3], with albedos [B, 3, S, S] under radiance coefficients
    `lighting` [B, 9, 3], in the one view of `cameras`."""
    assert head.uv_coords is not None and head.uv_faces is not None, "the network checks its head"
    corners = head.faces[faces]
    fragments = rasterize_mesh(vertices, corners, cameras)
    uv = interpolate(head.uv_coords.to(vertices), head.uv_faces[faces], fragments)[:, 0]
    # grid_sample counts rows from the top; UV has its origin at the bottom left.
    grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], -1)
    texture = nn.functional.grid_sample(albedo, grid, align_corners=False, padding_mode="border").permute(0, 2, 3, 1)
    normals = mesh_normals(vertices, corners, fragments)[:, 0]
    mask = fragments.mask[:, 0, ..., None].to(texture)
    shaded = shade(texture.flatten(1, 2), normals.flatten(1, 2), lighting).view_as(texture)
    return TexturedMesh(shaded * mask, mask, normals)
