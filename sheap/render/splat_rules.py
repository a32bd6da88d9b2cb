"""The numbers that define a 2D Gaussian's image: those of gsplat 1.5.3's `rasterization_2dgs`, for every backend.

A splat is a flat Gaussian in a plane (Huang et al., "2D Gaussian Splatting for Geometrically Accurate Radiance Fields",
2024). With M = K [s_u t_u | s_v t_v | mean] in camera axes (3x3, rows m_x, m_y, m_z; t_u, t_v the first two columns
of the splat's rotation), a pixel's ray meets its plane at (u, v): cross(x m_z - m_x, y m_z - m_y), divided by its
third component.

    sigma = min(u^2 + v^2, FILTER_INV_SQUARE * squared distance in pixels to the splat's centre) / 2
    alpha = min(MAX_ALPHA, opacity * exp(-sigma)), dropped when below MIN_ALPHA

and front to back (by the depth of the means; equal depths in the order of the splats) each takes alpha * T, where T is
what the splats before it let through. A splat that would bring T to MIN_TRANSMITTANCE or below ends the pixel, without
contributing. The centre is that of the projected one-sigma ellipse. A splat counts only in the TILE x TILE tiles
that its box (RADIUS_SIGMAS one-sigma half-widths around the centre, rounded up to whole pixels) reaches: this cuts
the pixel filter of tiny splats at tile borders, as gsplat does. Nothing checks that a ray meets the plane in front
of the camera.
"""

from __future__ import annotations

TILE = 16
"""Pixels on a side of the tiles that decide where a splat counts."""

NEAR_PLANE = 0.01
FAR_PLANE = 1e10
"""Metres: a splat whose mean is not between these depths is not drawn."""

FILTER_INV_SQUARE = 2.0
"""One over the squared width of the pixel filter: no splat is narrower than a Gaussian of variance 1/2 pixel^2."""

MAX_ALPHA = 0.999
MIN_ALPHA = 1 / 255
MIN_TRANSMITTANCE = 1e-4
RADIUS_SIGMAS = 3.33

MIN_SQUARED_EXTENT = 1e-4
"""Pixels^2: the least squared half-width of a splat's box."""

MIN_DEPTH_WEIGHT = 1e-10
"""Expected depth is the weighted sum of the depths of the means, divided by at least this alpha."""
