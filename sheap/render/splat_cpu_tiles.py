"""Compiled per-pixel work of the CPU backend: one tile at a time, splat by splat, over the pixels of its box."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sheap.render import splat_rules as rules
from sheap.render.splat_cpu_project import NUM_RAY_GRADIENTS

TILE = rules.TILE
HALF_FILTER = np.float32(rules.FILTER_INV_SQUARE / 2)
FILTER = np.float32(rules.FILTER_INV_SQUARE)
MAX_ALPHA = np.float32(rules.MAX_ALPHA)
MIN_ALPHA = np.float32(rules.MIN_ALPHA)
MIN_TRANSMITTANCE = np.float32(rules.MIN_TRANSMITTANCE)
ONE = np.float32(1)
HALF = np.float32(0.5)
ZERO = np.float32(0)

FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
"""Not "nnan" and "ninf": the kernels rely on comparisons with NaN being false."""


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FASTMATH)
def forward_tiles(
    start, stop, coefficients, features, colors, boxes, tile_starts, tile_ids, tile_slots, num_views, height, width,
    image_out, transmittance_out, last_out, slot_weights,
):  # fmt: skip
    """Tiles [start, stop) of all images. image_out: [I, H, W, D + 5]: colours, alpha, depth, normal, summed."""
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    num_colors = colors.shape[2]
    transmittance = np.empty((TILE, TILE), np.float32)
    done = np.empty((TILE, TILE), np.bool_)
    for tile in range(start, stop):
        image = tile // (tiles_x * tiles_y)
        scene = image // num_views
        tile_y, tile_x = (tile // tiles_x) % tiles_y, tile % tiles_x
        tile_left, tile_top = tile_x * TILE, tile_y * TILE
        tile_right, tile_bottom = min(tile_left + TILE, width), min(tile_top + TILE, height)
        transmittance[:] = ONE
        done[:] = False
        open_pixels = (tile_right - tile_left) * (tile_bottom - tile_top)
        for row in range(tile_top, tile_bottom):
            for column in range(tile_left, tile_right):
                last_out[image, row, column] = -1
                for i in range(num_colors + 5):
                    image_out[image, row, column, i] = ZERO
        for place in range(tile_starts[tile], tile_starts[tile + 1]):
            slot_weights[tile_slots[place]] = ZERO
            if open_pixels == 0:
                continue
            splat = tile_ids[place]
            c = coefficients[image, splat]
            ax, ay, az, bx, by, bz, cx, cy, cz = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
            x, y, opacity, cut = c[9], c[10], c[11], c[12]
            left, right = max(boxes[image, splat, 0], tile_left), min(boxes[image, splat, 1], tile_right)
            top, bottom = max(boxes[image, splat, 2], tile_top), min(boxes[image, splat, 3], tile_bottom)
            total_weight = ZERO
            for row in range(top, bottom):
                dy = np.float32(row) + HALF - y
                for column in range(left, right):
                    if done[row - tile_top, column - tile_left]:
                        continue
                    dx = np.float32(column) + HALF - x
                    zz = az * dx + (bz * dy + cz)
                    if zz == ZERO:
                        continue
                    zx = ax * dx + (bx * dy + cx)
                    zy = ay * dx + (by * dy + cy)
                    squared = FILTER * (dx * dx + dy * dy)
                    on_splat = (zx * zx + zy * zy) / (zz * zz)
                    if on_splat <= squared:
                        squared = on_splat
                    if not squared <= cut:
                        continue
                    alpha = min(MAX_ALPHA, opacity * np.float32(math.exp(-HALF * squared)))
                    if not alpha >= MIN_ALPHA:
                        continue
                    before = transmittance[row - tile_top, column - tile_left]
                    after = before * (ONE - alpha)
                    if after <= MIN_TRANSMITTANCE:
                        done[row - tile_top, column - tile_left] = True
                        open_pixels -= 1
                        continue
                    weight = alpha * before
                    total_weight += weight
                    transmittance[row - tile_top, column - tile_left] = after
                    last_out[image, row, column] = place
                    out = image_out[image, row, column]
                    for i in range(num_colors):
                        out[i] += weight * colors[scene, splat, i]
                    out[num_colors] += weight
                    for i in range(4):
                        out[num_colors + 1 + i] += weight * features[image, splat, i]
            slot_weights[tile_slots[place]] = total_weight
        for row in range(tile_top, tile_bottom):
            for column in range(tile_left, tile_right):
                transmittance_out[image, row, column] = transmittance[row - tile_top, column - tile_left]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FASTMATH)
def backward_tiles(
    start, stop, coefficients, features, colors, boxes, tile_starts, tile_ids, tile_slots, num_views, height, width,
    transmittance_out, last_out, g_image, slot_gradients,
):  # fmt: skip
    """Tiles [start, stop) of all images, back to front: each (splat, tile)'s gradients into its slot."""
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    num_colors = colors.shape[2]
    transmittance = np.empty((TILE, TILE), np.float32)
    behind = np.empty((TILE, TILE), np.float32)
    g = np.empty(slot_gradients.shape[1], np.float32)
    for tile in range(start, stop):
        image = tile // (tiles_x * tiles_y)
        scene = image // num_views
        tile_y, tile_x = (tile // tiles_x) % tiles_y, tile % tiles_x
        tile_left, tile_top = tile_x * TILE, tile_y * TILE
        tile_right, tile_bottom = min(tile_left + TILE, width), min(tile_top + TILE, height)
        last_of_tile = -1
        for row in range(tile_top, tile_bottom):
            for column in range(tile_left, tile_right):
                transmittance[row - tile_top, column - tile_left] = transmittance_out[image, row, column]
                behind[row - tile_top, column - tile_left] = ZERO
                last_of_tile = max(last_of_tile, last_out[image, row, column])
        for place in range(tile_starts[tile + 1] - 1, tile_starts[tile] - 1, -1):
            slot = tile_slots[place]
            g[:] = ZERO
            if place <= last_of_tile:
                splat = tile_ids[place]
                c = coefficients[image, splat]
                ax, ay, az, bx, by, bz, cx, cy, cz = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
                x, y, opacity, cut = c[9], c[10], c[11], c[12]
                left, right = max(boxes[image, splat, 0], tile_left), min(boxes[image, splat, 1], tile_right)
                top, bottom = max(boxes[image, splat, 2], tile_top), min(boxes[image, splat, 3], tile_bottom)
                for row in range(top, bottom):
                    dy = np.float32(row) + HALF - y
                    for column in range(left, right):
                        if place > last_out[image, row, column]:
                            continue
                        dx = np.float32(column) + HALF - x
                        zz = az * dx + (bz * dy + cz)
                        if zz == ZERO:
                            continue
                        zx = ax * dx + (bx * dy + cx)
                        zy = ay * dx + (by * dy + cy)
                        on_image = FILTER * (dx * dx + dy * dy)
                        on_splat = (zx * zx + zy * zy) / (zz * zz)
                        squared = on_splat if on_splat <= on_image else on_image
                        if not squared <= cut:
                            continue
                        falloff = np.float32(math.exp(-HALF * squared))
                        alpha = min(MAX_ALPHA, opacity * falloff)
                        if not alpha >= MIN_ALPHA:
                            continue
                        inverse = ONE / (ONE - alpha)
                        before = transmittance[row - tile_top, column - tile_left] * inverse
                        weight = alpha * before
                        g_out = g_image[image, row, column]
                        q = g_out[num_colors]
                        for i in range(num_colors):
                            q += g_out[i] * colors[scene, splat, i]
                            g[NUM_RAY_GRADIENTS + 4 + i] += weight * g_out[i]
                        for i in range(4):
                            q += g_out[num_colors + 1 + i] * features[image, splat, i]
                            g[NUM_RAY_GRADIENTS + i] += weight * g_out[num_colors + 1 + i]
                        suffix = behind[row - tile_top, column - tile_left]
                        g_alpha = before * q - suffix * inverse
                        behind[row - tile_top, column - tile_left] = suffix + weight * q
                        transmittance[row - tile_top, column - tile_left] = before
                        if opacity * falloff > MAX_ALPHA:
                            continue
                        g[11] += falloff * g_alpha
                        g_sigma = -opacity * falloff * g_alpha
                        if on_splat <= on_image:
                            u, v = zx / zz, zy / zz
                            gx, gy = g_sigma * u / zz, g_sigma * v / zz
                            gz = -(gx * u + gy * v)
                            g[0] += gx * dx
                            g[1] += gy * dx
                            g[2] += gz * dx
                            g[3] += gx * dy
                            g[4] += gy * dy
                            g[5] += gz * dy
                            g[6] += gx
                            g[7] += gy
                            g[8] += gz
                        else:
                            g[9] -= FILTER * g_sigma * dx
                            g[10] -= FILTER * g_sigma * dy
            for i in range(g.shape[0]):
                slot_gradients[slot, i] = g[i]
