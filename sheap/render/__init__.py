"""Meshes and 2D Gaussians into images, and light on surfaces."""

from sheap.geometry.cameras import Cameras
from sheap.render.splatting import rasterize_splats
from sheap.render.types import RenderedViews, Splats

__all__ = ["Cameras", "RenderedViews", "Splats", "rasterize_splats"]
