"""Compiled per-pixel work of the CPU backend: one tile at a time, splat by splat, eight pixels of a row at once.

A tile's pixels live in one scratch array of planes (transmittance, last splat, sums or gradients), each TILE rows
of STRIDE floats. A splat visits the rows of its box in blocks of eight columns from the box's left side. The last
block may reach beyond the box, where the splat's alpha is below the cut anyway, and beyond the tile, into the
STRIDE - TILE columns that belong to no pixel: these, and pixels outside the image, are closed (their transmittance
is negative) from the start.

Shapes beside parameters: S scenes of V views each, I = S V images of H x W px, G splats, D colours; a slot is a splat in a tile.
Arrays are float32 unless said.
"""

from __future__ import annotations

import numpy as np

from sheap.render import splat_rules as rules
from sheap.render.compiled import compiled
from sheap.render.simd import any8, broadcast8, exp_minus_half8, iota8, load8, max8, select8, store8, sum8
from sheap.render.splat_cpu_project import NUM_RAY_GRADIENTS

TILE = rules.TILE
STRIDE = TILE + 8
PLANE = TILE * STRIDE
FILTER = np.float32(rules.FILTER_INV_SQUARE)
MAX_ALPHA = np.float32(rules.MAX_ALPHA)
MIN_ALPHA = np.float32(rules.MIN_ALPHA)
MIN_TRANSMITTANCE = np.float32(rules.MIN_TRANSMITTANCE)
MIN_DEPTH_WEIGHT = np.float32(rules.MIN_DEPTH_WEIGHT)
ONE, ZERO = np.float32(1), np.float32(0)
SPLATS_BETWEEN_LOOKS = 16
"""After so many splats a tile is searched for a pixel that is still open."""


@compiled
def _alpha(dx, ax, ay, az, rx, ry, rz, on_image_by_row, opacity):
    """Eight pixels of a row: where their rays meet the splat's plane and what it covers of them."""
    zz = dx * az + rz
    inverse = ONE / zz
    u = (dx * ax + rx) * inverse
    v = (dx * ay + ry) * inverse
    on_splat = u * u + v * v
    on_image = dx * dx * FILTER + on_image_by_row
    is_on_splat = on_splat <= on_image  # false for NaN, where a ray lies in the plane
    falloff = exp_minus_half8(select8(is_on_splat, on_splat, on_image))
    raw = falloff * opacity
    alpha = select8(raw < MAX_ALPHA, raw, MAX_ALPHA)
    counts = (alpha >= MIN_ALPHA) & (zz != ZERO)
    return u, v, inverse, is_on_splat, falloff, raw, alpha, counts


@compiled
def forward_tiles(
    start,
    stop,
    coefficients,  # [I, G, NUM_COEFFICIENTS]
    features,  # [I, G, 4] depth, normal
    colors,  # [S, G, D]
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px
    tile_starts,  # [I * tiles + 1] int64, places before each tile
    tile_ids,  # [slots] int32, splats tile by tile
    tile_slots,  # [slots] int64
    num_views,  # V
    height,  # px
    width,  # px
    backdrop,  # [I, H, W, D] or [I, 1, 1, D]
    color_out,  # [I, H, W, D]; written
    alpha_out,  # [I, H, W, 1]; written
    depth_out,  # [I, H, W, 1]; written
    normal_out,  # [I, H, W, 3]; written
    transmittance_out,  # [I, H, W], negative where the pixel was ended; written
    last_out,  # [I, H, W] int32, place in its tile's list of the last splat that contributed, or -1; written
    slot_weights,  # [slots]; written
):
    """Tiles [start, stop) of all images, front to back: the finished images, and each (splat, tile)'s summed weight."""
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    num_colors = colors.shape[2]
    num_features = num_colors + 5
    pixels = np.empty((num_features + 2) * PLANE, np.float32)
    feature = np.empty(num_features, np.float32)
    lanes = iota8()
    for tile in range(start, stop):
        image = tile // (tiles_x * tiles_y)
        scene = image // num_views
        tile_y, tile_x = (tile // tiles_x) % tiles_y, tile % tiles_x
        tile_left, tile_top = tile_x * TILE, tile_y * TILE
        tile_right, tile_bottom = min(tile_left + TILE, width), min(tile_top + TILE, height)
        pixels[: 2 * PLANE] = -ONE
        pixels[2 * PLANE :] = ZERO
        for row in range(tile_bottom - tile_top):
            for column in range(tile_right - tile_left):
                pixels[row * STRIDE + column] = ONE
        first_place = tile_starts[tile]
        num_places = tile_starts[tile + 1] - first_place
        is_open = True
        for place in range(num_places):
            if place % SPLATS_BETWEEN_LOOKS == SPLATS_BETWEEN_LOOKS - 1:
                is_open = False
                for i in range(0, PLANE, 8):
                    is_open = is_open or any8(load8(pixels, i) > ZERO)
            if not is_open:
                slot_weights[tile_slots[first_place + place]] = ZERO
                continue
            splat = tile_ids[first_place + place]
            c = coefficients[image, splat]
            ax, ay, az, bx, by, bz, cx, cy, cz = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
            x, y, to_middle_x, to_middle_y, opacity = c[9], c[10], c[11], c[12], c[13]
            for i in range(num_colors):
                feature[i] = colors[scene, splat, i]
            feature[num_colors] = ONE
            for i in range(4):
                feature[num_colors + 1 + i] = features[image, splat, i]
            left, right = max(boxes[image, splat, 0], tile_left), min(boxes[image, splat, 1], tile_right)
            top, bottom = max(boxes[image, splat, 2], tile_top), min(boxes[image, splat, 3], tile_bottom)
            total_weight = broadcast8(ZERO)
            for row in range(top, bottom):
                dy = (np.float32(row) - y) + to_middle_y
                rx, ry, rz = bx * dy + cx, by * dy + cy, bz * dy + cz
                for column in range(left, right, 8):
                    at = (row - tile_top) * STRIDE + column - tile_left
                    dx = lanes + ((np.float32(column) - x) + to_middle_x)
                    _, _, _, _, _, _, alpha, counts = _alpha(dx, ax, ay, az, rx, ry, rz, FILTER * dy * dy, opacity)
                    before = load8(pixels, at)
                    # A closed pixel stays closed: what it lets through is negative.
                    counts = counts & (before > ZERO)
                    after = before * (ONE - alpha)
                    adds = counts & (after > MIN_TRANSMITTANCE)
                    # By a factor, not by selecting `after`: see max8.
                    store8(pixels, at, before * select8(adds, ONE - alpha, select8(counts, -ONE, ONE)))
                    store8(pixels, at + PLANE, max8(load8(pixels, at + PLANE), select8(adds, np.float32(place), -ONE)))
                    weight = select8(adds, alpha * before, ZERO)
                    total_weight = total_weight + weight
                    for i in range(num_features):
                        plane = at + (2 + i) * PLANE
                        store8(pixels, plane, load8(pixels, plane) + weight * feature[i])
            slot_weights[tile_slots[first_place + place]] = sum8(total_weight)
        for row in range(tile_top, tile_bottom):
            for column in range(tile_left, tile_right):
                at = (row - tile_top) * STRIDE + column - tile_left
                transmittance_out[image, row, column] = pixels[at]
                last_out[image, row, column] = np.int32(pixels[at + PLANE])
                at += 2 * PLANE
                alpha_sum, depth_sum = pixels[at + num_colors * PLANE], pixels[at + (num_colors + 1) * PLANE]
                backdrop_here = backdrop[image, min(row, backdrop.shape[1] - 1), min(column, backdrop.shape[2] - 1)]
                for i in range(num_colors):
                    color_out[image, row, column, i] = pixels[at + i * PLANE] + (ONE - alpha_sum) * backdrop_here[i]
                alpha_out[image, row, column, 0] = alpha_sum
                depth_out[image, row, column, 0] = depth_sum / max(alpha_sum, MIN_DEPTH_WEIGHT)
                for i in range(3):
                    normal_out[image, row, column, i] = pixels[at + (num_colors + 2 + i) * PLANE]


@compiled
def backward_tiles(
    start,
    stop,
    coefficients,  # [I, G, NUM_COEFFICIENTS]
    features,  # [I, G, 4] depth, normal
    colors,  # [S, G, D]
    boxes,  # [I, G, 4] int32: left, right, top, bottom, px
    tile_starts,  # [I * tiles + 1] int64, places before each tile
    tile_ids,  # [slots] int32, splats tile by tile
    tile_slots,  # [slots] int64
    num_views,  # V
    height,  # px
    width,  # px
    backdrop,  # [I, H, W, D] or [I, 1, 1, D]
    alpha_out,  # [I, H, W, 1]
    depth_out,  # [I, H, W, 1]
    transmittance_out,  # [I, H, W], negative where the pixel was ended
    last_out,  # [I, H, W] int32, place in its tile's list of the last splat that contributed, or -1
    g_color_out,  # [I, H, W, D]
    g_alpha_out,  # [I, H, W, 1]
    g_depth_out,  # [I, H, W, 1]
    g_normal_out,  # [I, H, W, 3]
    slot_gradients,  # [slots, NUM_RAY_GRADIENTS + 4 + D]; written
):
    """Tiles [start, stop) of all images, back to front: each (splat, tile)'s gradients into its slot.

    The images are as `forward_tiles` wrote them; g_..._out: the upstream gradients to the finished ones.

    With what splat i adds, w_i = alpha_i T_i, and the loss's gradient q_i to w_i (the upstream gradient's product
    with the splat's colour, 1, depth and normal), dL/dalpha_i = T_i q_i - (sum of w_j q_j over the splats behind) /
    (1 - alpha_i).
    """
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    num_colors = colors.shape[2]
    num_features = num_colors + 5
    pixels = np.empty((num_features + 3) * PLANE, np.float32)
    feature = np.empty(num_features, np.float32)
    g_feature = np.empty(num_features * 8, np.float32)
    lanes = iota8()
    for tile in range(start, stop):
        image = tile // (tiles_x * tiles_y)
        scene = image // num_views
        tile_y, tile_x = (tile // tiles_x) % tiles_y, tile % tiles_x
        tile_left, tile_top = tile_x * TILE, tile_y * TILE
        tile_right, tile_bottom = min(tile_left + TILE, width), min(tile_top + TILE, height)
        pixels[:] = ZERO
        pixels[PLANE : 2 * PLANE] = -ONE
        last_of_tile = -1
        for row in range(tile_top, tile_bottom):
            for column in range(tile_left, tile_right):
                at = (row - tile_top) * STRIDE + column - tile_left
                last = last_out[image, row, column]
                pixels[at] = abs(transmittance_out[image, row, column])
                pixels[at + PLANE] = np.float32(last)
                last_of_tile = max(last_of_tile, last)
                at += 3 * PLANE
                # From the finished images to the sums: color = sum + (1 - alpha) backdrop, depth = sum / alpha.
                weight_sum = max(alpha_out[image, row, column, 0], MIN_DEPTH_WEIGHT)
                g_depth_sum = g_depth_out[image, row, column, 0] / weight_sum
                g_alpha_sum = g_alpha_out[image, row, column, 0]
                if alpha_out[image, row, column, 0] >= MIN_DEPTH_WEIGHT:
                    g_alpha_sum -= g_depth_sum * depth_out[image, row, column, 0]
                backdrop_here = backdrop[image, min(row, backdrop.shape[1] - 1), min(column, backdrop.shape[2] - 1)]
                for i in range(num_colors):
                    g_color = g_color_out[image, row, column, i]
                    pixels[at + i * PLANE] = g_color
                    g_alpha_sum -= g_color * backdrop_here[i]
                pixels[at + num_colors * PLANE] = g_alpha_sum
                pixels[at + (num_colors + 1) * PLANE] = g_depth_sum
                for i in range(3):
                    pixels[at + (num_colors + 2 + i) * PLANE] = g_normal_out[image, row, column, i]
        first_place = tile_starts[tile]
        for place in range(tile_starts[tile + 1] - first_place - 1, -1, -1):
            g = slot_gradients[tile_slots[first_place + place]]
            if place > last_of_tile:
                g[:] = ZERO
                continue
            splat = tile_ids[first_place + place]
            c = coefficients[image, splat]
            ax, ay, az, bx, by, bz, cx, cy, cz = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
            x, y, to_middle_x, to_middle_y, opacity = c[9], c[10], c[11], c[12], c[13]
            for i in range(num_colors):
                feature[i] = colors[scene, splat, i]
            feature[num_colors] = ONE
            for i in range(4):
                feature[num_colors + 1 + i] = features[image, splat, i]
            left, right = max(boxes[image, splat, 0], tile_left), min(boxes[image, splat, 1], tile_right)
            top, bottom = max(boxes[image, splat, 2], tile_top), min(boxes[image, splat, 3], tile_bottom)
            zero = broadcast8(ZERO)
            g_ax, g_ay, g_az, g_bx, g_by, g_bz, g_cx, g_cy, g_cz = zero, zero, zero, zero, zero, zero, zero, zero, zero
            g_x, g_y, g_opacity = zero, zero, zero
            g_feature[:] = ZERO
            for row in range(top, bottom):
                dy = (np.float32(row) - y) + to_middle_y
                rx, ry, rz = bx * dy + cx, by * dy + cy, bz * dy + cz
                for column in range(left, right, 8):
                    at = (row - tile_top) * STRIDE + column - tile_left
                    dx = lanes + ((np.float32(column) - x) + to_middle_x)
                    u, v, inverse, is_on_splat, falloff, raw, alpha, counts = _alpha(
                        dx, ax, ay, az, rx, ry, rz, FILTER * dy * dy, opacity
                    )
                    adds = counts & (load8(pixels, at + PLANE) >= np.float32(place))
                    after = load8(pixels, at)
                    one_over = ONE / (ONE - alpha)
                    before = after * one_over
                    weight = select8(adds, alpha * before, ZERO)
                    q = zero
                    for i in range(num_features):
                        upstream = load8(pixels, at + (3 + i) * PLANE)
                        q = q + upstream * feature[i]
                        store8(g_feature, 8 * i, load8(g_feature, 8 * i) + weight * upstream)
                    behind = load8(pixels, at + 2 * PLANE)
                    g_alpha = before * q - behind * one_over
                    store8(pixels, at, after * select8(adds, one_over, ONE))
                    store8(pixels, at + 2 * PLANE, behind + weight * q)
                    moves = adds & (raw <= MAX_ALPHA)
                    g_falloff = select8(moves, falloff * g_alpha, ZERO)  # times the falloff itself
                    g_opacity = g_opacity + g_falloff
                    g_sigma = g_falloff * (ZERO - opacity)
                    # Lanes that are not asked may hold NaN: they are selected away, never multiplied by zero.
                    asked = moves & is_on_splat
                    g_zx = select8(asked, g_sigma * u * inverse, ZERO)
                    g_zy = select8(asked, g_sigma * v * inverse, ZERO)
                    g_zz = select8(asked, ZERO - (g_zx * u + g_zy * v), ZERO)
                    g_ax, g_ay, g_az = g_ax + g_zx * dx, g_ay + g_zy * dx, g_az + g_zz * dx
                    g_bx, g_by, g_bz = g_bx + g_zx * dy, g_by + g_zy * dy, g_bz + g_zz * dy
                    g_cx, g_cy, g_cz = g_cx + g_zx, g_cy + g_zy, g_cz + g_zz
                    g_filter = select8(is_on_splat, ZERO, g_sigma)
                    g_x = g_x - g_filter * dx
                    g_y = g_y - g_filter * dy
            g[0], g[1], g[2] = sum8(g_ax), sum8(g_ay), sum8(g_az)
            g[3], g[4], g[5] = sum8(g_bx), sum8(g_by), sum8(g_bz)
            g[6], g[7], g[8] = sum8(g_cx), sum8(g_cy), sum8(g_cz)
            g[9], g[10], g[11] = FILTER * sum8(g_x), FILTER * sum8(g_y), sum8(g_opacity)
            for i in range(4):
                g[NUM_RAY_GRADIENTS + i] = sum8(load8(g_feature, 8 * (num_colors + 1 + i)))
            for i in range(num_colors):
                g[NUM_RAY_GRADIENTS + 4 + i] = sum8(load8(g_feature, 8 * i))
