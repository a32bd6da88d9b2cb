"""The compiled loops of the people's own renderer: one z-buffer pass with alpha cut-outs over many textured materials, then
shading. What they are given is made in `sheap.people.scene`.

Pixel centres at +0.5, OpenCV camera axes, linear light. All kernels stand in this file: numba keeps them on disk and looks for
changes in a kernel's own file only.
"""

from __future__ import annotations

import numba
import numpy as np

_FAR = np.float32(1e9)

_BUCKETS = 64
"""Steps of depth by which faces are sorted."""
_TILE, _LOOKS = 8, 12
"""Side of the tiles whose farthest depth is known, and how often it is measured again in one frame."""

_IN_EYES = np.float32(8.0)

NUM_HALVINGS = 4
"""How often a texture is halved for when it is seen small."""
_FINEST = 4
"""How often a texel is halved at most for the grain of a cut-out's soft edge, when it is seen large."""


@numba.njit(cache=True, inline="always")
def _hash01(a: int, b: int) -> float:
    """A fixed pseudo-random number in [0, 1) for two integers: the same cell has the same value in every frame."""
    h = (a * 374761393 + b * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@numba.njit(cache=True, fastmath=True, nogil=True)
def project(vertices, rotation, translation, K):
    """Pixels and one over depth of points [N, 3]; the last is 0 for those at or behind the camera."""
    out = np.empty_like(vertices)
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + translation[2]
        inverse = np.float32(1.0) / depth if depth > np.float32(0.02) else np.float32(0.0)
        out[i, 0] = K[0, 0] * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + translation[0]) * inverse
        out[i, 1] = K[1, 1] * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + translation[1]) * inverse
        out[i, 0] += K[0, 2]
        out[i, 1] += K[1, 2]
        out[i, 2] = inverse
    return out


@numba.njit(cache=True, inline="always")
def _level(corner_uv, f, area, tall, wide):
    """Which halving of a texture [tall, wide] fits a face of `area` px (twice its size) on the screen; negative where even the
    whole one is coarser than the screen, by as many halvings."""
    u1, v1 = corner_uv[f, 1, 0] - corner_uv[f, 0, 0], corner_uv[f, 1, 1] - corner_uv[f, 0, 1]
    u2, v2 = corner_uv[f, 2, 0] - corner_uv[f, 0, 0], corner_uv[f, 2, 1] - corner_uv[f, 0, 1]
    texels = abs(u1 * v2 - u2 * v1) * tall * wide
    level = 0
    # A level has a quarter of the texels of the one before: go on while there are more than two a pixel.
    while level < NUM_HALVINGS and texels > 2.0 * area:
        texels *= 0.25
        level += 1
    while level <= 0 and level > -_FINEST and texels * 4.0 < area:
        texels *= 4.0
        level -= 1
    return level


@numba.njit(cache=True, fastmath=True, nogil=True)
def _near_first(seen_at, faces, face_piece, flags):
    """Order of the faces [F]: solid ones as they are, then those with cut-outs from near to far, so that few of the
    many layers of hair are looked up in their texture."""
    near, far = np.float32(0.0), np.float32(1e9)
    for i in range(seen_at.shape[0]):
        if seen_at[i, 2] > 0.0:
            near, far = max(near, seen_at[i, 2]), min(far, seen_at[i, 2])
    scale = (_BUCKETS - 1) / max(near - far, np.float32(1e-9))
    bucket = np.empty(faces.shape[0], np.uint8)
    starts = np.zeros(_BUCKETS + 2, np.int64)
    for f in range(faces.shape[0]):
        piece = face_piece[f]
        b = 0
        if flags[piece, 1] == 1 or flags[piece, 2] == 1:
            b = 1 + int((near - max(seen_at[faces[f, 0], 2], far)) * scale)
        bucket[f] = b
        starts[b + 1] += 1
    for b in range(_BUCKETS + 1):
        starts[b + 1] += starts[b]
    order = np.empty(faces.shape[0], np.int32)
    for f in range(faces.shape[0]):
        order[starts[bucket[f]]] = f
        starts[bucket[f]] += 1
    return order, starts[0]


@numba.njit(cache=True, fastmath=True, nogil=True)
def _farthest_in_tiles(depth, farthest):
    """The farthest depth in each tile: a face behind it everywhere needs no look at its pixels."""
    farthest[:] = 0.0
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            farthest[y // _TILE, x // _TILE] = max(farthest[y // _TILE, x // _TILE], depth[y, x])


@numba.njit(cache=True, fastmath=True, nogil=True)
def rasterize(seen_at, faces, corner_uv, face_piece, flags, texels, table, height, width):
    face_ids = np.full((height, width), -1, np.int32)
    depth = np.full((height, width), _FAR, np.float32)
    weights = np.empty((height, width, 2), np.float32)
    order, num_solid = _near_first(seen_at, faces, face_piece, flags)
    farthest = np.full((height // _TILE + 1, width // _TILE + 1), _FAR, np.float32)
    next_look = num_solid
    for at in range(order.shape[0]):
        f = order[at]
        if at == next_look:
            _farthest_in_tiles(depth, farthest)
            next_look += max((order.shape[0] - num_solid) // _LOOKS, 1)
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        r0, r1, r2 = seen_at[i0, 2], seen_at[i1, 2], seen_at[i2, 2]
        if r0 == 0.0 or r1 == 0.0 or r2 == 0.0:
            continue
        x0, y0, x1, y1 = seen_at[i0, 0], seen_at[i0, 1], seen_at[i1, 0], seen_at[i1, 1]
        x2, y2 = seen_at[i2, 0], seen_at[i2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        piece = face_piece[f]
        # Counter-clockwise seen from outside turns clockwise in an image whose y points down.
        if area == 0.0 or (area > 0.0 and flags[piece, 1] == 0):
            continue
        left = max(int(np.ceil(min(x0, x1, x2) - np.float32(0.5))), 0)
        right = min(int(np.floor(max(x0, x1, x2) - np.float32(0.5))), width - 1)
        top = max(int(np.ceil(min(y0, y1, y2) - np.float32(0.5))), 0)
        bottom = min(int(np.floor(max(y0, y1, y2) - np.float32(0.5))), height - 1)
        if left > right or top > bottom:
            continue
        cut = flags[piece, 1] == 1 or flags[piece, 2] == 1
        if cut:
            nearest = np.float32(1.0) / max(r0, r1, r2)
            hidden = True
            for tile_y in range(top // _TILE, bottom // _TILE + 1):
                for tile_x in range(left // _TILE, right // _TILE + 1):
                    if nearest < farthest[tile_y, tile_x]:
                        hidden = False
            if hidden:
                continue
        inverse = np.float32(1.0) / area
        start = tall = wide = 0
        cells = np.float32(1)
        if cut:
            level = _level(corner_uv, f, abs(area), table[piece, 0, 1], table[piece, 0, 2])
            cells = np.float32(1 << max(-level, 0))
            level = max(level, 0)
            start, tall, wide = table[piece, level, 0], table[piece, level, 1], table[piece, level, 2]
        # Barycentric weights are linear: steps per pixel along x, and how many pixels lower a weight by one.
        step0, step1 = (y1 - y2) * inverse, (y2 - y0) * inverse
        step2 = -step0 - step1
        far0 = -np.float32(1.0) / step0 if step0 != 0.0 else np.float32(0.0)
        far1 = -np.float32(1.0) / step1 if step1 != 0.0 else np.float32(0.0)
        far2 = -np.float32(1.0) / step2 if step2 != 0.0 else np.float32(0.0)
        px = left + np.float32(0.5)
        for y in range(top, bottom + 1):
            py = y + np.float32(0.5)
            w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
            w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
            w2 = np.float32(1.0) - w0 - w1
            # The row's span inside all three edges.
            low, high = np.float32(0.0), np.float32(right - left)
            for edge in range(3):
                w, step, far = (w0, step0, far0) if edge == 0 else ((w1, step1, far1) if edge == 1 else (w2, step2, far2))
                if step > 0.0:
                    low = max(low, w * far)
                elif step < 0.0:
                    high = min(high, w * far)
                elif w < 0.0:
                    high = np.float32(-1.0)
            for k in range(int(np.ceil(low)), int(np.floor(high)) + 1):
                x = left + k
                a0, a1 = w0 + k * step0, w1 + k * step1
                a2 = np.float32(1.0) - a0 - a1
                b0, b1 = a0 * r0, a1 * r1
                z = np.float32(1.0) / (b0 + b1 + a2 * r2)
                if z >= depth[y, x]:
                    continue
                b0 *= z
                b1 *= z
                if cut:
                    b2 = np.float32(1.0) - b0 - b1
                    u = b0 * corner_uv[f, 0, 0] + b1 * corner_uv[f, 1, 0] + b2 * corner_uv[f, 2, 0]
                    v = b0 * corner_uv[f, 0, 1] + b1 * corner_uv[f, 1, 1] + b2 * corner_uv[f, 2, 1]
                    if flags[piece, 2] == 1:
                        tx, ty = min(max(int(u * wide), 0), wide - 1), min(max(int(v * tall), 0), tall - 1)
                        alpha = np.float32(texels[start + ty * wide + tx, 3])
                        # Ordered 2x2 pattern: with 2x supersampling every output pixel gets the same share.
                        threshold = ((x & 1) * 2 + ((x & 1) ^ (y & 1))) * 63.75 + 31.875
                    else:
                        # Between texels, so that an edge seen large has no steps.
                        at_x = min(max(u * wide - np.float32(0.5), np.float32(0.0)), wide - np.float32(1.001))
                        at_y = min(max(v * tall - np.float32(0.5), np.float32(0.0)), tall - np.float32(1.001))
                        ix, iy = int(at_x), int(at_y)
                        t00 = start + iy * wide + ix
                        t10 = t00 + (wide if iy + 1 < tall else 0)
                        right_of = 1 if ix + 1 < wide else 0
                        fx, fy = at_x - ix, at_y - iy
                        upper = texels[t00, 3] + fx * (np.float32(texels[t00 + right_of, 3]) - texels[t00, 3])
                        lower = texels[t10, 3] + fx * (np.float32(texels[t10 + right_of, 3]) - texels[t10, 3])
                        alpha = upper + fy * (lower - upper)
                        if alpha > 254.0:
                            threshold = 0.0
                        else:
                            threshold = 38.25 + 178.5 * _hash01(int(cells * at_x), int(cells * at_y))
                    if alpha < threshold:
                        continue
                depth[y, x] = z
                face_ids[y, x] = f
                weights[y, x, 0] = b0
                weights[y, x, 1] = b1
    return face_ids, weights, depth


@numba.njit(cache=True, fastmath=True, nogil=True)
def shade(
    face_ids, weights, seen_at, vertices, normals, tangents, tint, received, share, faces, corner_uv, face_piece, flags,
    gloss, texels, table, levels, lamps, lamp_colors, lamp_sharpness, sky, side, ground, eye, supersample,
):  # fmt: skip
    """Light of each output pixel [H, W, 3] and how much of it is covered [H, W]: samples of one pixel that see the same
    piece are shaded once."""
    height, width = face_ids.shape[0] // supersample, face_ids.shape[1] // supersample
    out = np.zeros((height, width, 3), np.float32)
    cover = np.zeros((height, width), np.float32)
    samples = supersample * supersample
    each = np.float32(1.0 / samples)
    done = np.empty(samples, np.bool_)
    light, mirrored = np.empty(3, np.float32), np.empty(3, np.float32)
    for y in range(height):
        for x in range(width):
            done[:] = False
            for s in range(samples):
                if done[s]:
                    continue
                f = face_ids[y * supersample + s // supersample, x * supersample + s % supersample]
                if f < 0:
                    continue
                piece = face_piece[f]
                u = v = nx = ny = nz = px = py = pz = tx = ty = tz = open_share = np.float32(0.0)
                tint_r = tint_g = tint_b = np.float32(0.0)
                light[:] = 0.0
                count = np.float32(0.0)
                for other in range(s, samples):
                    row, column = y * supersample + other // supersample, x * supersample + other % supersample
                    g = face_ids[row, column]
                    if g < 0 or face_piece[g] != piece:
                        continue
                    done[other] = True
                    count += np.float32(1.0)
                    b0, b1 = weights[row, column, 0], weights[row, column, 1]
                    for corner in range(3):
                        b = b0 if corner == 0 else (b1 if corner == 1 else np.float32(1.0) - b0 - b1)
                        i = faces[g, corner]
                        u += b * corner_uv[g, corner, 0]
                        v += b * corner_uv[g, corner, 1]
                        nx += b * normals[i, 0]
                        ny += b * normals[i, 1]
                        nz += b * normals[i, 2]
                        px += b * vertices[i, 0]
                        py += b * vertices[i, 1]
                        pz += b * vertices[i, 2]
                        tint_r += b * tint[i, 0]
                        tint_g += b * tint[i, 1]
                        tint_b += b * tint[i, 2]
                        light[0] += b * received[i, 0]
                        light[1] += b * received[i, 1]
                        light[2] += b * received[i, 2]
                        open_share += b * share[i]
                        if flags[piece, 0] == 2:
                            tx += b * tangents[i, 0]
                            ty += b * tangents[i, 1]
                            tz += b * tangents[i, 2]
                mean = np.float32(1.0) / count
                u, v, px, py, pz, open_share = u * mean, v * mean, px * mean, py * mean, pz * mean, open_share * mean
                tint_r, tint_g, tint_b = tint_r * mean, tint_g * mean, tint_b * mean
                i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
                area = (seen_at[i1, 0] - seen_at[i0, 0]) * (seen_at[i2, 1] - seen_at[i0, 1])
                area -= (seen_at[i2, 0] - seen_at[i0, 0]) * (seen_at[i1, 1] - seen_at[i0, 1])
                level = max(_level(corner_uv, f, abs(area) * each, table[piece, 0, 1], table[piece, 0, 2]), 0)
                start, tall, wide = table[piece, level, 0], table[piece, level, 1], table[piece, level, 2]
                at_x = min(max(u * wide - np.float32(0.5), np.float32(0.0)), wide - np.float32(1.001))
                at_y = min(max(v * tall - np.float32(0.5), np.float32(0.0)), tall - np.float32(1.001))
                ix, iy = int(at_x), int(at_y)
                fx, fy = at_x - ix, at_y - iy
                t00 = start + iy * wide + ix
                t10 = t00 + wide if iy + 1 < tall else t00
                right = 1 if ix + 1 < wide else 0
                w00, w01 = (1 - fx) * (1 - fy), fx * (1 - fy)
                w10, w11 = (1 - fx) * fy, fx * fy
                length = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
                nx, ny, nz = nx * length, ny * length, nz * length
                vx, vy, vz = eye[0] - px, eye[1] - py, eye[2] - pz
                length = np.float32(1.0) / np.sqrt(vx * vx + vy * vy + vz * vz + np.float32(1e-12))
                vx, vy, vz = vx * length, vy * length, vz * length
                facing = nx * vx + ny * vy + nz * vz
                kind = flags[piece, 0]
                mirrored[:] = 0.0
                reflectance = gloss[piece, 0]
                if kind == 2 and reflectance > 0.0:
                    grey = levels[texels[t00, 0]] * w00 + levels[texels[t00 + right, 0]] * w01
                    grey += levels[texels[t10, 0]] * w10 + levels[texels[t10 + right, 0]] * w11
                    _fibre_light(
                        tx, ty, tz, nx, ny, nz, vx, vy, vz, grey, lamps, lamp_colors, lamp_sharpness, sky, side, mirrored
                    )
                    mirrored *= reflectance
                elif reflectance > 0.0:
                    if facing < 0.0:
                        nx, ny, nz, facing = -nx, -ny, -nz, -facing
                    rx, ry, rz = 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
                    # What lights a face softly is still a window or a lamp with edges in the mirror of a wet eye.
                    compact = _IN_EYES if kind == 1 else np.float32(1.0)
                    _reflected_light(
                        rx, ry, rz, gloss[piece, 1], compact, lamps, lamp_colors, lamp_sharpness, sky, side, ground,
                        mirrored,
                    )
                    # Fresnel (Schlick), damped at grazing angles by roughness.
                    grazing = np.float32(1.0) - facing
                    smooth = gloss[piece, 1] / (gloss[piece, 1] + np.float32(40.0))
                    mirrored *= reflectance + smooth * (1 - reflectance) * grazing**5
                weight = count * each
                for c in range(3):
                    texel = (
                        levels[texels[t00, c]] * w00
                        + levels[texels[t00 + right, c]] * w01
                        + levels[texels[t10, c]] * w10
                        + levels[texels[t10 + right, c]] * w11
                    )
                    texel *= tint_r if c == 0 else (tint_g if c == 1 else tint_b)
                    bright = mirrored[c] * open_share
                    if kind == 2:
                        # Light that went through the fibre has its colour.
                        bright *= np.float32(0.5) + np.float32(0.7) * min(texel, np.float32(1.0))
                    out[y, x, c] += weight * (texel * light[c] * mean + bright)
                cover[y, x] += weight
    return out, cover


@numba.njit(cache=True, fastmath=True, inline="always")
def _reflected_light(rx, ry, rz, lobe, compact, lamps, colors, sharpness, sky, side, ground, out):
    """Radiance from around a direction, averaged over a lobe exp(lobe (cos - 1)): products of such lobes have closed
    forms (Wang et al. 2009, spherical Gaussians). compact: how much smaller and brighter lamps are than they are
    elsewhere."""
    for c in range(3):
        out[c] += side[c] + max(ry, np.float32(0.0)) * (sky[c] - side[c]) + max(-ry, np.float32(0.0)) * (ground[c] - side[c])
    for k in range(lamps.shape[0]):
        toward = rx * lamps[k, 0] + ry * lamps[k, 1] + rz * lamps[k, 2]
        narrow = sharpness[k] * compact
        shared = lobe / (lobe + narrow)
        exponent = shared * narrow * (toward - np.float32(1.0))
        if exponent < -8.0:
            continue
        amount = compact * shared * np.exp(exponent)
        for c in range(3):
            out[c] += amount * colors[k, c]


@numba.njit(cache=True, fastmath=True, inline="always")
def _fibre_light(tx, ty, tz, nx, ny, nz, vx, vy, vz, grey, lamps, colors, sharpness, sky, side, out):
    """What hair reflects: a highlight across each fibre, shifted towards the root, and a wider one behind it that is
    shifted towards the tip (Kajiya and Kay 1989, with the shifts of Marschner et al. 2003)."""
    length = np.float32(1.0) / np.sqrt(tx * tx + ty * ty + tz * tz + np.float32(1e-12))
    tx, ty, tz = tx * length, ty * length, tz * length
    # Neighbouring fibres do not lie alike: the streak of the texture shifts the highlight.
    uneven = np.float32(0.7) * (grey - np.float32(0.35))
    for part in range(2):
        shift = (np.float32(-0.08) if part == 0 else np.float32(0.14)) + uneven
        power = np.float32(70.0) if part == 0 else np.float32(18.0)
        strength = np.float32(0.55) if part == 0 else np.float32(0.45)
        sx, sy, sz = tx + shift * nx, ty + shift * ny, tz + shift * nz
        length = np.float32(1.0) / np.sqrt(sx * sx + sy * sy + sz * sz + np.float32(1e-12))
        sx, sy, sz = sx * length, sy * length, sz * length
        for k in range(lamps.shape[0]):
            hx, hy, hz = lamps[k, 0] + vx, lamps[k, 1] + vy, lamps[k, 2] + vz
            length = np.float32(1.0) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-12))
            along = (sx * hx + sy * hy + sz * hz) * length
            toward = nx * lamps[k, 0] + ny * lamps[k, 1] + nz * lamps[k, 2]
            front = min(max(np.float32(0.35) + toward, np.float32(0.0)), np.float32(1.0))
            if front == 0.0:
                continue
            # A lamp's own width softens the lobe.
            wide = power * sharpness[k] * 4 / (power + sharpness[k] * 4)
            amount = strength * front * np.exp(-np.float32(0.5) * wide * along * along) * np.sqrt(wide / power)
            amount *= np.float32(6.0) / (sharpness[k] + np.float32(2.0))
            for c in range(3):
                out[c] += amount * colors[k, c]
    for c in range(3):
        out[c] += np.float32(0.15) * (side[c] + max(ny, np.float32(0.0)) * (sky[c] - side[c]))
