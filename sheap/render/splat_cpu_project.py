"""Compiled per-splat work of the CPU backend: projection, its gradient, and the depth-sorted tile lists."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sheap.render import splat_rules as rules

# Globals of a compiled kernel are constants to the compiler.
TILE = rules.TILE
NEAR_PLANE = rules.NEAR_PLANE
FAR_PLANE = rules.FAR_PLANE
FILTER_INV_SQUARE = rules.FILTER_INV_SQUARE
MIN_ALPHA = rules.MIN_ALPHA
RADIUS_SIGMAS = rules.RADIUS_SIGMAS
MIN_SQUARED_EXTENT = rules.MIN_SQUARED_EXTENT

NUM_COEFFICIENTS = 13
"""Per splat and view: A, B, C (3 each), centre x, y, opacity, and the least squared distance at which it is cut.

The ray of a pixel (dx, dy) from the centre meets the plane at (Zx/Zz, Zy/Zz), Z = A dx + B dy + C: the cross product of
`splat_rules`, expanded. Taken around the centre, in float64, then scaled (Z is homogeneous) and rounded to float32."""

NUM_RAY_GRADIENTS = 12
"""Per splat and view: the loss's gradients to A, B, C, to the filter's centre x, y, and to the opacity."""


@njit(nogil=True, cache=True, error_model="numpy")
def _rotation(quats, out):
    """Write the rotation of a quaternion of any length (zero: the identity) and return its length."""
    w, x, y, z = float(quats[0]), float(quats[1]), float(quats[2]), float(quats[3])
    length = math.sqrt(w * w + x * x + y * y + z * z)
    if length > 1e-12:
        w, x, y, z = w / length, x / length, y / length, z / length
    else:
        w, x, y, z = 1.0 + 0.0 * length, 0.0, 0.0, 0.0
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return length


@njit(nogil=True, cache=True, error_model="numpy")
def _ray_transform(mean, scale, rotation, world_to_cam, K, in_cam, M):
    """Write the splat's columns in camera axes (in_cam) and M = K in_cam."""
    for i in range(3):
        for j in range(2):
            total = 0.0
            for k in range(3):
                total += world_to_cam[i, k] * rotation[k, j]
            in_cam[i, j] = total * scale[j]
        total = float(world_to_cam[i, 3])
        for k in range(3):
            total += world_to_cam[i, k] * float(mean[k])
        in_cam[i, 2] = total
    for j in range(3):
        M[0, j] = K[0, 0] * in_cam[0, j] + K[0, 2] * in_cam[2, j]
        M[1, j] = K[1, 1] * in_cam[1, j] + K[1, 2] * in_cam[2, j]
        M[2, j] = in_cam[2, j]


@njit(nogil=True, cache=True, error_model="numpy")
def _homogeneous_scale(M, x, y):
    """What the coefficients A, B, C are divided by: the largest of them."""
    largest = 0.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        uj, uk, vj, vk = M[0, j] - x * M[2, j], M[0, k] - x * M[2, k], M[1, j] - y * M[2, j], M[1, k] - y * M[2, k]
        largest = max(largest, abs(vj * M[2, k] - vk * M[2, j]))
        largest = max(largest, abs(M[2, j] * uk - M[2, k] * uj))
        largest = max(largest, abs(uj * vk - uk * vj))
    return largest


@njit(nogil=True, cache=True, error_model="numpy")
def project_splats(
    start, stop, means, quats, scales, opacities, world_to_cam, K, height, width, coefficients, features, boxes
):
    """Splats [start, stop) of all images, image by image: coefficients, (depth, normal), and boxes of pixels.

    A box (left, right, top, bottom) holds every pixel at which the splat can pass MIN_ALPHA in a tile that it reaches;
    it is empty for a splat that is not drawn.
    """
    num_splats = means.shape[1]
    num_views = world_to_cam.shape[1]
    rotation, in_cam, M = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for item in range(start, stop):
        image, splat = item // num_splats, item % num_splats
        scene, view = image // num_views, image % num_views
        box = boxes[image, splat]
        box[0], box[1], box[2], box[3] = 0, 0, 0, 0
        _rotation(quats[scene, splat], rotation)
        camera = world_to_cam[scene, view]
        _ray_transform(means[scene, splat], scales[scene, splat], rotation, camera, K[scene, view], in_cam, M)
        depth = in_cam[2, 2]
        opacity = float(opacities[scene, splat])
        # Written so that a NaN anywhere fails the test.
        if not (depth > NEAR_PLANE and depth < FAR_PLANE and opacity >= MIN_ALPHA):
            continue
        curvature = M[2, 0] * M[2, 0] + M[2, 1] * M[2, 1] - M[2, 2] * M[2, 2]
        if curvature == 0.0:
            continue
        x = (M[0, 0] * M[2, 0] + M[0, 1] * M[2, 1] - M[0, 2] * M[2, 2]) / curvature
        y = (M[1, 0] * M[2, 0] + M[1, 1] * M[2, 1] - M[1, 2] * M[2, 2]) / curvature
        extent_x = x * x - (M[0, 0] * M[0, 0] + M[0, 1] * M[0, 1] - M[0, 2] * M[0, 2]) / curvature
        extent_y = y * y - (M[1, 0] * M[1, 0] + M[1, 1] * M[1, 1] - M[1, 2] * M[1, 2]) / curvature
        if not (np.isfinite(extent_x) and np.isfinite(extent_y)):
            continue
        radius_x = np.ceil(RADIUS_SIGMAS * math.sqrt(max(extent_x, MIN_SQUARED_EXTENT)))
        radius_y = np.ceil(RADIUS_SIGMAS * math.sqrt(max(extent_y, MIN_SQUARED_EXTENT)))
        if not (x + radius_x > 0 and x - radius_x < width and y + radius_y > 0 and y - radius_y < height):
            continue
        largest = _homogeneous_scale(M, x, y)
        if not (largest > 0.0 and np.isfinite(largest)):
            continue

        c = coefficients[image, splat]
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            uj, uk = M[0, j] - x * M[2, j], M[0, k] - x * M[2, k]
            vj, vk = M[1, j] - y * M[2, j], M[1, k] - y * M[2, k]
            c[i] = (vj * M[2, k] - vk * M[2, j]) / largest
            c[3 + i] = (M[2, j] * uk - M[2, k] * uj) / largest
            c[6 + i] = (uj * vk - uk * vj) / largest
        cut = 2.0 * math.log(opacity / MIN_ALPHA)
        c[9], c[10], c[11], c[12] = x, y, opacity, cut * 1.0001 + 1e-4

        normal_in_cam = 0.0
        for i in range(3):
            normal_in_cam += in_cam[i, 2] * (
                camera[i, 0] * rotation[0, 2] + camera[i, 1] * rotation[1, 2] + camera[i, 2] * rotation[2, 2]
            )
        side = 1.0 if -normal_in_cam > 0 else -1.0
        features[image, splat, 0] = depth
        for i in range(3):
            features[image, splat, 1 + i] = side * rotation[i, 2]

        # The tiles that the splat reaches, as pixels.
        left = min(max(np.floor((x - radius_x) / TILE), 0.0), tiles_x) * TILE
        right = min(min(max(np.ceil((x + radius_x) / TILE), 0.0), tiles_x) * TILE, width)
        top = min(max(np.floor((y - radius_y) / TILE), 0.0), tiles_y) * TILE
        bottom = min(min(max(np.ceil((y + radius_y) / TILE), 0.0), tiles_y) * TILE, height)
        # Within them, where alpha can pass MIN_ALPHA: the pixel filter's circle and the ellipse of that many sigmas.
        # The ellipse has a box only where all of it lies in front of the camera.
        edge = (cut + 1e-4) * (M[2, 0] * M[2, 0] + M[2, 1] * M[2, 1]) - M[2, 2] * M[2, 2]
        if edge < 0.0:
            f = (cut + 1e-4) / edge
            g = -1.0 / edge
            ex = f * (M[0, 0] * M[2, 0] + M[0, 1] * M[2, 1]) + g * M[0, 2] * M[2, 2]
            ey = f * (M[1, 0] * M[2, 0] + M[1, 1] * M[2, 1]) + g * M[1, 2] * M[2, 2]
            rx = ex * ex - (f * (M[0, 0] * M[0, 0] + M[0, 1] * M[0, 1]) + g * M[0, 2] * M[0, 2])
            ry = ey * ey - (f * (M[1, 0] * M[1, 0] + M[1, 1] * M[1, 1]) + g * M[1, 2] * M[1, 2])
            if np.isfinite(rx) and np.isfinite(ry):
                rx = math.sqrt(max(rx, 0.0)) * 1.0001 + 1e-3
                ry = math.sqrt(max(ry, 0.0)) * 1.0001 + 1e-3
                filter_radius = math.sqrt((cut + 1e-4) / FILTER_INV_SQUARE) + 1e-3
                left = max(left, np.floor(min(ex - rx, x - filter_radius) + 0.5))
                right = min(right, np.floor(max(ex + rx, x + filter_radius) + 0.5))
                top = max(top, np.floor(min(ey - ry, y - filter_radius) + 0.5))
                bottom = min(bottom, np.floor(max(ey + ry, y + filter_radius) + 0.5))
        if left < right and top < bottom:
            box[0], box[1], box[2], box[3] = int(left), int(right), int(top), int(bottom)


@njit(nogil=True, cache=True, error_model="numpy")
def count_tiles(start, stop, boxes, first_slots, totals):
    """Per image in [start, stop): each splat's first slot (one slot a tile) and how many slots the image has."""
    for image in range(start, stop):
        total = 0
        for splat in range(boxes.shape[1]):
            first_slots[image, splat] = total
            left, right, top, bottom = boxes[image, splat]
            if right > left:
                total += ((right - 1) // TILE - left // TILE + 1) * ((bottom - 1) // TILE - top // TILE + 1)
        totals[image] = total


@njit(nogil=True, cache=True, error_model="numpy")
def _depth_order(boxes, features, order, keys, other_order, other_keys):
    """Write the drawn splats of one image front to back, equal depths by index, and return their number.

    A radix sort of the bits of float32 depths: positive floats order like integers. Three passes of 11 bits.
    """
    num_drawn = 0
    depth_bits = features.view(np.uint32)
    for splat in range(boxes.shape[0]):
        if boxes[splat, 1] > boxes[splat, 0]:
            order[num_drawn] = splat
            keys[num_drawn] = depth_bits[splat, 0]
            num_drawn += 1
    for step in range(3):
        shift = np.uint32(11 * step)
        starts = np.zeros(2049, np.int64)
        for i in range(num_drawn):
            starts[((keys[i] >> shift) & np.uint32(2047)) + 1] += 1
        for digit in range(2048):
            starts[digit + 1] += starts[digit]
        for i in range(num_drawn):
            digit = (keys[i] >> shift) & np.uint32(2047)
            place = starts[digit]
            starts[digit] += 1
            other_keys[place] = keys[i]
            other_order[place] = order[i]
        keys, other_keys = other_keys, keys
        order, other_order = other_order, order
    return num_drawn, order


@njit(nogil=True, cache=True, error_model="numpy")
def fill_tiles(
    start, stop, boxes, features, first_slots, image_starts, width, height, tile_starts, tile_ids, tile_slots
):
    """Per image in [start, stop): every tile's splats, front to back, and the slot of each (splat, tile)."""
    num_splats = boxes.shape[1]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    order, other_order = np.empty(num_splats, np.int32), np.empty(num_splats, np.int32)
    keys, other_keys = np.empty(num_splats, np.uint32), np.empty(num_splats, np.uint32)
    places = np.empty(tiles_x * tiles_y, np.int64)
    for image in range(start, stop):
        num_drawn, sorted_ids = _depth_order(boxes[image], features[image], order, keys, other_order, other_keys)
        places[:] = 0
        for i in range(num_drawn):
            left, right, top, bottom = boxes[image, sorted_ids[i]]
            for tile_y in range(top // TILE, (bottom - 1) // TILE + 1):
                for tile_x in range(left // TILE, (right - 1) // TILE + 1):
                    places[tile_y * tiles_x + tile_x] += 1
        total = image_starts[image]
        for tile in range(tiles_x * tiles_y):
            tile_starts[image * tiles_x * tiles_y + tile] = total
            total += places[tile]
            places[tile] = tile_starts[image * tiles_x * tiles_y + tile]
        for i in range(num_drawn):
            splat = sorted_ids[i]
            left, right, top, bottom = boxes[image, splat]
            slot = image_starts[image] + first_slots[image, splat]
            for tile_y in range(top // TILE, (bottom - 1) // TILE + 1):
                for tile_x in range(left // TILE, (right - 1) // TILE + 1):
                    place = places[tile_y * tiles_x + tile_x]
                    places[tile_y * tiles_x + tile_x] = place + 1
                    tile_ids[place] = splat
                    tile_slots[place] = slot
                    slot += 1


@njit(nogil=True, cache=True, error_model="numpy")
def sum_slots(start, stop, boxes, first_slots, image_starts, slot_values, sums):
    """Splats [start, stop) of all images: one value a slot, summed over each splat's slots in a fixed order."""
    num_splats = boxes.shape[1]
    for item in range(start, stop):
        image, splat = item // num_splats, item % num_splats
        left, right, top, bottom = boxes[image, splat]
        total = 0.0
        if right > left:
            num_slots = ((right - 1) // TILE - left // TILE + 1) * ((bottom - 1) // TILE - top // TILE + 1)
            first = image_starts[image] + first_slots[image, splat]
            for slot in range(first, first + num_slots):
                total += slot_values[slot]
        sums[image, splat] = total


@njit(nogil=True, cache=True, error_model="numpy")
def _add_cross(a, b, out):
    out[0] += a[1] * b[2] - a[2] * b[1]
    out[1] += a[2] * b[0] - a[0] * b[2]
    out[2] += a[0] * b[1] - a[1] * b[0]


@njit(nogil=True, cache=True, error_model="numpy")
def project_splats_backward(
    start, stop, means, quats, scales, world_to_cam, K, features, boxes, first_slots, image_starts, slot_gradients,
    g_means, g_quats, g_scales, g_opacities, g_colors, g_offsets,
):  # fmt: skip
    """Scene splats [start, stop): sum the slots of all views and tiles and take them back to the splat's parameters.

    slot_gradients: [slots, NUM_RAY_GRADIENTS + depth, normal, colours], written by the tile pass.
    """
    num_splats = means.shape[1]
    num_views = world_to_cam.shape[1]
    num_values = slot_gradients.shape[1]
    num_colors = g_colors.shape[2]
    rotation, in_cam, M = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    sums = np.empty(num_values)
    color_sums = np.empty(num_colors)
    u, v = np.empty(3), np.empty(3)
    g_M, g_rotation, g_column, g_mean = np.empty((3, 3)), np.empty((3, 3)), np.empty(3), np.empty(3)
    for item in range(start, stop):
        scene, splat = item // num_splats, item % num_splats
        length = _rotation(quats[scene, splat], rotation)
        g_rotation[:] = 0.0
        g_mean[:] = 0.0
        color_sums[:] = 0.0
        g_scale_u, g_scale_v, g_opacity = 0.0, 0.0, 0.0
        for view in range(num_views):
            image = scene * num_views + view
            g_offsets[image, splat, 0] = 0.0
            g_offsets[image, splat, 1] = 0.0
            left, right, top, bottom = boxes[image, splat]
            if right <= left:
                continue
            num_slots = ((right - 1) // TILE - left // TILE + 1) * ((bottom - 1) // TILE - top // TILE + 1)
            first = image_starts[image] + first_slots[image, splat]
            sums[:] = 0.0
            for slot in range(first, first + num_slots):
                for i in range(num_values):
                    sums[i] += slot_gradients[slot, i]

            camera = world_to_cam[scene, view]
            _ray_transform(means[scene, splat], scales[scene, splat], rotation, camera, K[scene, view], in_cam, M)
            w = M[2]
            curvature = w[0] * w[0] + w[1] * w[1] - w[2] * w[2]
            x = (M[0, 0] * w[0] + M[0, 1] * w[1] - M[0, 2] * w[2]) / curvature
            y = (M[1, 0] * w[0] + M[1, 1] * w[1] - M[1, 2] * w[2]) / curvature
            for i in range(3):
                u[i] = M[0, i] - x * w[i]
                v[i] = M[1, i] - y * w[i]
            largest = _homogeneous_scale(M, x, y)
            for i in range(9):
                sums[i] /= largest
            g_a, g_b, g_c = sums[0:3], sums[3:6], sums[6:9]
            # A = v x w, B = w x u, C = u x v, around a fixed pixel (x, y).
            g_M[:] = 0.0
            g_u, g_v, g_w = g_M[0], g_M[1], g_M[2]
            _add_cross(w, g_a, g_v)
            _add_cross(g_a, v, g_w)
            _add_cross(u, g_b, g_w)
            _add_cross(g_b, w, g_u)
            _add_cross(v, g_c, g_u)
            _add_cross(g_c, u, g_v)
            for i in range(3):
                g_w[i] -= x * g_u[i] + y * g_v[i]
            g_x, g_y = sums[9], sums[10]
            g_offsets[image, splat, 0] = g_u[2] * w[2] + g_x
            g_offsets[image, splat, 1] = g_v[2] * w[2] + g_y
            # The filter's centre: x = (u . c w) / (w . c w) with c = (1, 1, -1).
            for i in range(3):
                sign = 1.0 if i < 2 else -1.0
                g_u[i] += g_x * sign * w[i] / curvature
                g_v[i] += g_y * sign * w[i] / curvature
                g_w[i] += sign * (
                    g_x * (M[0, i] - 2.0 * x * w[i]) + g_y * (M[1, i] - 2.0 * y * w[i])
                ) / curvature  # fmt: skip
            # M = K in_cam, in_cam = [camera R diag(scale) | camera mean].
            g_opacity += sums[11]
            for j in range(3):
                g_X, g_Y = K[scene, view, 0, 0] * g_u[j], K[scene, view, 1, 1] * g_v[j]
                g_Z = K[scene, view, 0, 2] * g_u[j] + K[scene, view, 1, 2] * g_v[j] + g_w[j]
                if j == 2:
                    g_Z += sums[NUM_RAY_GRADIENTS]
                for i in range(3):
                    g_column[i] = camera[0, i] * g_X + camera[1, i] * g_Y + camera[2, i] * g_Z
                if j == 2:
                    for i in range(3):
                        g_mean[i] += g_column[i]
                else:
                    along = 0.0
                    for i in range(3):
                        along += rotation[i, j] * g_column[i]
                        g_rotation[i, j] += scales[scene, splat, j] * g_column[i]
                    if j == 0:
                        g_scale_u += along
                    else:
                        g_scale_v += along
            same_side = 0.0
            for i in range(3):
                same_side += rotation[i, 2] * features[image, splat, 1 + i]
            side = 1.0 if same_side > 0 else -1.0
            for i in range(3):
                g_rotation[i, 2] += side * sums[NUM_RAY_GRADIENTS + 1 + i]
            for i in range(num_colors):
                color_sums[i] += sums[NUM_RAY_GRADIENTS + 4 + i]

        for i in range(3):
            g_means[scene, splat, i] = g_mean[i]
        g_scales[scene, splat, 0], g_scales[scene, splat, 1] = g_scale_u, g_scale_v
        g_opacities[scene, splat] = g_opacity
        for i in range(num_colors):
            g_colors[scene, splat, i] = color_sums[i]
        if length > 1e-12:
            _quat_gradient(quats[scene, splat], length, g_rotation, g_quats[scene, splat])
        else:
            g_quats[scene, splat, :] = 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _quat_gradient(quat, length, g, out):
    """From the gradient to a rotation to that of its quaternion (w, x, y, z), through the normalisation."""
    w, x, y, z = quat[0] / length, quat[1] / length, quat[2] / length, quat[3] / length
    g_w = 2 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    g_x = 2 * (
        w * (g[2, 1] - g[1, 2]) + y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) - 2 * x * (g[1, 1] + g[2, 2])
    )
    g_y = 2 * (
        w * (g[0, 2] - g[2, 0]) + x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) - 2 * y * (g[0, 0] + g[2, 2])
    )
    g_z = 2 * (
        w * (g[1, 0] - g[0, 1]) + x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) - 2 * z * (g[0, 0] + g[1, 1])
    )
    radial = g_w * w + g_x * x + g_y * y + g_z * z
    out[0] = (g_w - radial * w) / length
    out[1] = (g_x - radial * x) / length
    out[2] = (g_y - radial * y) / length
    out[3] = (g_z - radial * z) / length
