"""A network's head in the picture, whichever way it is drawn: Gaussians, or the baseline's textured mesh."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.networks.head_codes import HeadCodes
from sheap.networks.sheap_network import GaussianHead, SheapNetwork
from sheap.render.splatting import rasterize_splats
from sheap.render.types import RenderedViews


@dataclass(frozen=True)
class HeadRender:
    """color [B, H, W, 3] over the background, alpha [B, H, W, 1], normals [B, H, W, 3] in the world (not unit where alpha is
    below 1), vertices [B, N, 3]. gaussians and views: None for the textured mesh."""

    color: Tensor
    alpha: Tensor
    normals: Tensor
    vertices: Tensor
    gaussians: GaussianHead | None = None
    views: RenderedViews | None = None


def render_head(
    network: SheapNetwork, codes: HeadCodes, cameras: Cameras, background: Tensor, image_features: Tensor | None
) -> HeadRender:
    """Draws heads of `codes` in one view over plain colours [B, 3]. image_features: DINOv2's of the identity's picture."""
    vertices = network.head(codes.params).vertices
    if network.config.appearance == "mesh":
        mesh = network.textured_mesh(codes, vertices, cameras, image_features)
        color = mesh.color + background[:, None, None] * (1 - mesh.mask)
        return HeadRender(color, mesh.mask, mesh.normals, vertices)
    gaussians = network.gaussians(codes, vertices, image_features)
    views = rasterize_splats(gaussians.splats(), cameras, background=background[:, None])
    return HeadRender(views.color[:, 0], views.alpha[:, 0], views.normal[:, 0], vertices, gaussians, views)
