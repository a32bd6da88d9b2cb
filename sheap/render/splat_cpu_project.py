"""Compiled per-splat work of the CPU backend: projection to what a tile needs, and its gradient.

In float64 throughout: it is a small part of the time, and leaves float32's rounding to the pixels.
Shapes beside parameters: S scenes of V views each, I = S V images, G splats, D colours. Arrays are float32 unless said.
"""

from __future__ import annotations

import math

import numpy as np

from sheap.render import splat_rules as rules
from sheap.render.compiled import compiled

# Globals of a compiled kernel are constants to the compiler.
TILE = rules.TILE
NEAR_PLANE = rules.NEAR_PLANE
FAR_PLANE = rules.FAR_PLANE
FILTER_INV_SQUARE = rules.FILTER_INV_SQUARE
MIN_ALPHA = rules.MIN_ALPHA
RADIUS_SIGMAS = rules.RADIUS_SIGMAS
MIN_SQUARED_EXTENT = rules.MIN_SQUARED_EXTENT

NUM_COEFFICIENTS = 14
"""Per splat and view: A, B, C (3 each), the centre as whole pixels x, y and what is missing from there to the middle of
that pixel, x, y (float32 keeps such parts exact enough for splats far thinner than a pixel), and opacity.

The ray of a pixel (dx, dy) from the centre meets the plane at (Zx/Zz, Zy/Zz), Z = A dx + B dy + C: the cross product of
`splat_rules`, expanded. Taken around the centre, in float64, then scaled (Z is homogeneous) and rounded to float32."""

NUM_RAY_GRADIENTS = 12
"""Per splat and view: the loss's gradients to A, B, C, to the filter's centre x, y, and to the opacity."""


@compiled
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@compiled
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def _conic_dot(a, b, squared_radius):
    """The circle u^2 + v^2 = r^2 as a product of lines."""
    return squared_radius * (a[0] * b[0] + a[1] * b[1]) - a[2] * b[2]


@compiled
def _sum(a, b, factor):
    """a + factor * b"""
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


@compiled
def _largest(a):
    return max(abs(a[0]), abs(a[1]), abs(a[2]))


@compiled
def _row(matrix, i):
    return float(matrix[i, 0]), float(matrix[i, 1]), float(matrix[i, 2])


@compiled
def _unit_quat(quat):
    """A quaternion made unit (zero: the identity), and its length."""
    w, x, y, z = float(quat[0]), float(quat[1]), float(quat[2]), float(quat[3])
    length = math.sqrt(w * w + x * x + y * y + z * z)
    if length <= 1e-12:
        return 1.0, 0.0, 0.0, 0.0, 0.0
    inverse = 1.0 / length
    return w * inverse, x * inverse, y * inverse, z * inverse, length


@compiled
def _axes(w, x, y, z):
    """The columns of a unit quaternion's rotation."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


@compiled
def _ray_transform(
    mean,  # 3 numbers
    scale_u,
    scale_v,
    axis_u,  # 3 numbers
    axis_v,  # 3 numbers
    camera,  # [4, 4]
    K,  # [3, 3]
):
    """The rows of M = K [scale_u axis_u | scale_v axis_v | mean], in camera axes, and the mean there."""
    right, down, forward = _row(camera, 0), _row(camera, 1), _row(camera, 2)
    center = (
        _dot(right, mean) + camera[0, 3],
        _dot(down, mean) + camera[1, 3],
        _dot(forward, mean) + camera[2, 3],
    )
    xs = (scale_u * _dot(right, axis_u), scale_v * _dot(right, axis_v), center[0])
    ys = (scale_u * _dot(down, axis_u), scale_v * _dot(down, axis_v), center[1])
    zs = (scale_u * _dot(forward, axis_u), scale_v * _dot(forward, axis_v), center[2])
    fx, fy, cx, cy = float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
    m_x = (fx * xs[0] + cx * zs[0], fx * xs[1] + cx * zs[1], fx * xs[2] + cx * zs[2])
    m_y = (fy * ys[0] + cy * zs[0], fy * ys[1] + cy * zs[1], fy * ys[2] + cy * zs[2])
    return m_x, m_y, zs, center


@compiled
def _to_world(camera, x, y, z):
    """A direction (x, y, z) of the camera's axes in the world: the transposed rotation."""
    return (
        camera[0, 0] * x + camera[1, 0] * y + camera[2, 0] * z,
        camera[0, 1] * x + camera[1, 1] * y + camera[2, 1] * z,
        camera[0, 2] * x + camera[1, 2] * y + camera[2, 2] * z,
    )


@compiled
def project_splats(
    start,
    stop,
    means,  # [S, G, 3]
    quats,  # [S, G, 4] w, x, y, z
    scales,  # [S, G, 2]
    opacities,  # [S, G]
    world_to_cam,  # [S, V, 4, 4]
    K,  # [S, V, 3, 3]
    height,  # px
    width,  # px
    coefficients,  # [I, G, NUM_COEFFICIENTS]; written
    features,  # [I, G, 4] depth, normal; written
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px; written
):
    """Splats [start, stop) of all images, image by image: coefficients, (depth, normal), and boxes of pixels.

    A box (left, right, top, bottom) holds every pixel at which the splat can pass MIN_ALPHA in a tile that it reaches;
    it is empty for a splat that is not drawn, whose coefficients and features are not written.
    """
    num_splats = means.shape[1]
    num_views = world_to_cam.shape[1]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for item in range(start, stop):
        image, splat = item // num_splats, item % num_splats
        scene, view = image // num_views, image % num_views
        for i in range(4):
            boxes[image, splat, i] = 0
        qw, qx, qy, qz, _ = _unit_quat(quats[scene, splat])
        axis_u, axis_v, normal = _axes(qw, qx, qy, qz)
        camera = world_to_cam[scene, view]
        scale_u, scale_v = float(scales[scene, splat, 0]), float(scales[scene, splat, 1])
        mean = _row(means[scene], splat)
        m_x, m_y, m_z, center = _ray_transform(mean, scale_u, scale_v, axis_u, axis_v, camera, K[scene, view])
        opacity = float(opacities[scene, splat])
        # Written so that a NaN anywhere fails the test.
        if not (center[2] > NEAR_PLANE and center[2] < FAR_PLANE and opacity >= MIN_ALPHA and opacity < np.inf):
            continue
        curvature = _conic_dot(m_z, m_z, 1.0)
        if curvature == 0.0:
            continue
        inverse = 1.0 / curvature
        x, y = _conic_dot(m_x, m_z, 1.0) * inverse, _conic_dot(m_y, m_z, 1.0) * inverse
        extent_x = x * x - _conic_dot(m_x, m_x, 1.0) * inverse
        extent_y = y * y - _conic_dot(m_y, m_y, 1.0) * inverse
        if not (np.isfinite(extent_x) and np.isfinite(extent_y)):
            continue
        radius_x = np.ceil(RADIUS_SIGMAS * math.sqrt(max(extent_x, MIN_SQUARED_EXTENT)))
        radius_y = np.ceil(RADIUS_SIGMAS * math.sqrt(max(extent_y, MIN_SQUARED_EXTENT)))
        if not (x + radius_x > 0 and x - radius_x < width and y + radius_y > 0 and y - radius_y < height):
            continue
        around_x, around_y = _sum(m_x, m_z, -x), _sum(m_y, m_z, -y)
        a, b, c = _cross(around_y, m_z), _cross(m_z, around_x), _cross(around_x, around_y)
        largest = max(_largest(a), _largest(b), _largest(c))
        if not (largest > 0.0 and np.isfinite(largest)):
            continue
        inverse = 1.0 / largest
        for i in range(3):
            coefficients[image, splat, i] = a[i] * inverse
            coefficients[image, splat, 3 + i] = b[i] * inverse
            coefficients[image, splat, 6 + i] = c[i] * inverse
        coefficients[image, splat, 9] = np.floor(x)
        coefficients[image, splat, 10] = np.floor(y)
        coefficients[image, splat, 11] = 0.5 - (x - np.floor(x))
        coefficients[image, splat, 12] = 0.5 - (y - np.floor(y))
        coefficients[image, splat, 13] = opacity

        in_cam = _dot(_row(camera, 0), normal), _dot(_row(camera, 1), normal), _dot(_row(camera, 2), normal)
        side = 1.0 if -_dot(in_cam, center) > 0 else -1.0
        features[image, splat, 0] = center[2]
        for i in range(3):
            features[image, splat, 1 + i] = side * normal[i]

        # The tiles that the splat reaches, as pixels.
        left = min(max(np.floor((x - radius_x) / TILE), 0.0), tiles_x) * TILE
        right = min(min(max(np.ceil((x + radius_x) / TILE), 0.0), tiles_x) * TILE, width)
        top = min(max(np.floor((y - radius_y) / TILE), 0.0), tiles_y) * TILE
        bottom = min(min(max(np.ceil((y + radius_y) / TILE), 0.0), tiles_y) * TILE, height)
        # Within them, where alpha can pass MIN_ALPHA: the pixel filter's circle and the ellipse of that many sigmas.
        # The ellipse has a box only where all of it lies in front of the camera.
        cut = 2.0 * math.log(opacity / MIN_ALPHA) + 1e-4
        curvature = _conic_dot(m_z, m_z, cut)
        if curvature < 0.0:
            inverse = 1.0 / curvature
            ex, ey = _conic_dot(m_x, m_z, cut) * inverse, _conic_dot(m_y, m_z, cut) * inverse
            rx = ex * ex - _conic_dot(m_x, m_x, cut) * inverse
            ry = ey * ey - _conic_dot(m_y, m_y, cut) * inverse
            if np.isfinite(rx) and np.isfinite(ry):
                # A little wider: no rounding, here or at the pixels, may cut a pixel off.
                rx = math.sqrt(max(rx, 0.0)) * 1.0001 + 1e-3
                ry = math.sqrt(max(ry, 0.0)) * 1.0001 + 1e-3
                filter_radius = math.sqrt(cut / FILTER_INV_SQUARE) + 1e-3
                left = max(left, np.floor(min(ex - rx, x - filter_radius) + 0.5))
                right = min(right, np.floor(max(ex + rx, x + filter_radius) + 0.5))
                top = max(top, np.floor(min(ey - ry, y - filter_radius) + 0.5))
                bottom = min(bottom, np.floor(max(ey + ry, y + filter_radius) + 0.5))
        if left < right and top < bottom:
            boxes[image, splat, 0], boxes[image, splat, 1] = int(left), int(right)
            boxes[image, splat, 2], boxes[image, splat, 3] = int(top), int(bottom)


@compiled
def project_splats_backward(
    start,
    stop,
    means,  # [S, G, 3]
    quats,  # [S, G, 4] w, x, y, z
    scales,  # [S, G, 2]
    world_to_cam,  # [S, V, 4, 4]
    K,  # [S, V, 3, 3]
    features,  # [I, G, 4] depth, normal
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px
    first_slots,  # [I, G] int32, within the image
    image_starts,  # [I + 1] int64, slots before each image
    slot_gradients,  # [slots, NUM_RAY_GRADIENTS + 4 + D]
    g_means,  # [S, G, 3]; written
    g_quats,  # [S, G, 4]; written
    g_scales,  # [S, G, 2]; written
    g_opacities,  # [S, G]; written
    g_colors,  # [S, G, D]; written
    g_offsets,  # [I, G, 2] px; written
):
    """Scene splats [start, stop): sum the slots of all views and tiles and take them back to the splat's parameters.

    slot_gradients: to the rays, then to depth, normal and colours; written by the tile pass.
    """
    num_splats = means.shape[1]
    num_views = world_to_cam.shape[1]
    num_values = slot_gradients.shape[1]
    num_colors = g_colors.shape[2]
    sums = np.empty(num_values)
    color_sums = np.empty(num_colors)
    for item in range(start, stop):
        scene, splat = item // num_splats, item % num_splats
        qw, qx, qy, qz, length = _unit_quat(quats[scene, splat])
        axis_u, axis_v, normal = _axes(qw, qx, qy, qz)
        scale_u, scale_v = float(scales[scene, splat, 0]), float(scales[scene, splat, 1])
        mean = _row(means[scene], splat)
        g_axis_u, g_axis_v, g_normal, g_mean = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        g_opacity = 0.0
        color_sums[:] = 0.0
        is_drawn = False
        for view in range(num_views):
            image = scene * num_views + view
            g_offsets[image, splat, 0] = 0.0
            g_offsets[image, splat, 1] = 0.0
            left, right = boxes[image, splat, 0], boxes[image, splat, 1]
            top, bottom = boxes[image, splat, 2], boxes[image, splat, 3]
            if right <= left:
                continue
            is_drawn = True
            num_slots = ((right - 1) // TILE - left // TILE + 1) * ((bottom - 1) // TILE - top // TILE + 1)
            first = image_starts[image] + first_slots[image, splat]
            sums[:] = 0.0
            for slot in range(first, first + num_slots):
                for i in range(num_values):
                    sums[i] += slot_gradients[slot, i]

            camera = world_to_cam[scene, view]
            m_x, m_y, m_z, _ = _ray_transform(mean, scale_u, scale_v, axis_u, axis_v, camera, K[scene, view])
            inverse = 1.0 / _conic_dot(m_z, m_z, 1.0)
            x, y = _conic_dot(m_x, m_z, 1.0) * inverse, _conic_dot(m_y, m_z, 1.0) * inverse
            around_x, around_y = _sum(m_x, m_z, -x), _sum(m_y, m_z, -y)
            a, b, c = _cross(around_y, m_z), _cross(m_z, around_x), _cross(around_x, around_y)
            scale = 1.0 / max(_largest(a), _largest(b), _largest(c))
            g_a = scale * sums[0], scale * sums[1], scale * sums[2]
            g_b = scale * sums[3], scale * sums[4], scale * sums[5]
            g_c = scale * sums[6], scale * sums[7], scale * sums[8]
            # A = around_y x m_z, B = m_z x around_x, C = around_x x around_y, around a fixed pixel (x, y).
            g_m_x = _sum(_cross(g_b, m_z), _cross(around_y, g_c), 1.0)
            g_m_y = _sum(_cross(m_z, g_a), _cross(g_c, around_x), 1.0)
            g_m_z = _sum(_cross(g_a, around_y), _cross(around_x, g_b), 1.0)
            g_m_z = _sum(_sum(g_m_z, g_m_x, -x), g_m_y, -y)
            g_x, g_y = sums[9], sums[10]
            g_offsets[image, splat, 0] = g_m_x[2] * m_z[2] + g_x
            g_offsets[image, splat, 1] = g_m_y[2] * m_z[2] + g_y
            # The filter's centre: x = (m_x . m_z) / (m_z . m_z), in the circle's product.
            flipped = m_z[0] * inverse, m_z[1] * inverse, -m_z[2] * inverse
            g_m_x = _sum(g_m_x, flipped, g_x)
            g_m_y = _sum(g_m_y, flipped, g_y)
            inward = -2.0 * (g_x * x + g_y * y)
            toward = inward * m_z[0], inward * m_z[1], inward * m_z[2]
            toward = _sum(_sum(toward, m_x, g_x), m_y, g_y)
            g_m_z = _sum(g_m_z, (toward[0], toward[1], -toward[2]), inverse)
            # M = K in_cam, in_cam = camera [scale_u axis_u | scale_v axis_v | mean].
            fx, fy = float(K[scene, view, 0, 0]), float(K[scene, view, 1, 1])
            g_m_z = _sum(_sum(g_m_z, g_m_x, float(K[scene, view, 0, 2])), g_m_y, float(K[scene, view, 1, 2]))
            g_depth = g_m_z[2] + sums[NUM_RAY_GRADIENTS]
            g_mean = _sum(g_mean, _to_world(camera, fx * g_m_x[2], fy * g_m_y[2], g_depth), 1.0)
            world_u = _to_world(camera, fx * g_m_x[0], fy * g_m_y[0], g_m_z[0])
            world_v = _to_world(camera, fx * g_m_x[1], fy * g_m_y[1], g_m_z[1])
            g_axis_u, g_axis_v = _sum(g_axis_u, world_u, 1.0), _sum(g_axis_v, world_v, 1.0)
            drawn_normal = features[image, splat, 1], features[image, splat, 2], features[image, splat, 3]
            side = 1.0 if _dot(normal, drawn_normal) > 0 else -1.0
            i = NUM_RAY_GRADIENTS + 1
            g_normal = _sum(g_normal, (sums[i], sums[i + 1], sums[i + 2]), side)
            g_opacity += sums[11]
            for i in range(num_colors):
                color_sums[i] += sums[NUM_RAY_GRADIENTS + 4 + i]

        if not is_drawn:  # its parameters may be NaN, its gradients are not
            g_means[scene, splat, :] = 0.0
            g_quats[scene, splat, :] = 0.0
            g_scales[scene, splat, :] = 0.0
            g_opacities[scene, splat] = 0.0
            g_colors[scene, splat, :] = 0.0
            continue
        for i in range(3):
            g_means[scene, splat, i] = g_mean[i]
        g_scales[scene, splat, 0] = _dot(axis_u, g_axis_u)
        g_scales[scene, splat, 1] = _dot(axis_v, g_axis_v)
        g_opacities[scene, splat] = g_opacity
        for i in range(num_colors):
            g_colors[scene, splat, i] = color_sums[i]
        g_u = scale_u * g_axis_u[0], scale_u * g_axis_u[1], scale_u * g_axis_u[2]
        g_v = scale_v * g_axis_v[0], scale_v * g_axis_v[1], scale_v * g_axis_v[2]
        g_quat = _quat_gradient(qw, qx, qy, qz, g_u, g_v, g_normal)
        radial = g_quat[0] * qw + g_quat[1] * qx + g_quat[2] * qy + g_quat[3] * qz
        # Along its own direction a quaternion's length is free; a zero one stays the identity.
        inverse = 1.0 / length if length > 0.0 else 0.0
        g_quats[scene, splat, 0] = (g_quat[0] - radial * qw) * inverse
        g_quats[scene, splat, 1] = (g_quat[1] - radial * qx) * inverse
        g_quats[scene, splat, 2] = (g_quat[2] - radial * qy) * inverse
        g_quats[scene, splat, 3] = (g_quat[3] - radial * qz) * inverse


@compiled
def _quat_gradient(w, x, y, z, g_u, g_v, g_n):
    """From the gradients to a rotation's columns to that of its unit quaternion."""
    across_x, across_y, across_z = g_v[2] - g_n[1], g_n[0] - g_u[2], g_u[1] - g_v[0]
    along_x, along_y, along_z = g_v[2] + g_n[1], g_n[0] + g_u[2], g_u[1] + g_v[0]
    return (
        2 * (x * across_x + y * across_y + z * across_z),
        2 * (w * across_x + y * along_z + z * along_y - 2 * x * (g_v[1] + g_n[2])),
        2 * (w * across_y + x * along_z + z * along_x - 2 * y * (g_u[0] + g_n[2])),
        2 * (w * across_z + x * along_y + y * along_x - 2 * z * (g_u[0] + g_v[1])),
    )
