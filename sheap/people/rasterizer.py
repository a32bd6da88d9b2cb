"""The people's own renderer: one z-buffer pass with alpha cut-outs over many textured materials, then shading.

`sheap.render.mesh` rasterises opaque meshes for training; hair, lashes and lenses need a texture's alpha inside the
depth test, which is what this file adds. Pixel centres at +0.5, OpenCV camera axes, linear light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import srgb_to_linear

SKIN, EYE, HAIR, MATTE = 0, 1, 2, 3
"""How a material answers to light."""


@dataclass(frozen=True)
class Material:
    """A texture and how it is lit.

    texture: uint8 sRGB [H, W, 4]; alpha decides which pixels exist. kind: SKIN, EYE, HAIR or MATTE. gloss: strength
    of the highlights (0..1), sharpness: the Blinn-Phong exponent is 2 to this power. two_sided: seen from behind too.
    screen_door: alpha thins the surface evenly (lenses) instead of cutting its outline (hair).
    """

    texture: NDArray[np.uint8]
    kind: int = MATTE
    gloss: float = 0.0
    sharpness: int = 4
    two_sided: bool = False
    screen_door: bool = False


@dataclass(frozen=True)
class Piece:
    """What of a mesh stays the same in every frame: faces [F, 3] into the vertices of a named block, corner_uv [F, 3,
    2] (0..1, origin top-left) and one material. Several pieces can share a block."""

    name: str
    block: str
    faces: NDArray[np.int32]
    corner_uv: NDArray[np.float32]
    material: Material


@dataclass(frozen=True)
class Posed:
    """A block of vertices in one frame: vertices [N, 3] (world, m), normals [N, 3] (unit), and occlusion [N], the
    share of light that arrives (0..1; None: all of it)."""

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    occlusion: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Light:
    """irradiance: [3, 4, 4] quadratic form, E_c(n) = (n, 1) M_c (n, 1)^T. directions [L, 3] (towards the light,
    world) and colors [L, 3] of the lamps that make highlights."""

    irradiance: NDArray[np.float32]
    directions: NDArray[np.float32]
    colors: NDArray[np.float32]


@dataclass(frozen=True)
class Rendered:
    """color [H, W, 3] linear light, premultiplied by alpha; alpha [H, W]; piece_ids [H, W] int16, the piece seen by
    the sample nearest to each pixel's centre (-1: none)."""

    color: NDArray[np.float32]
    alpha: NDArray[np.float32]
    piece_ids: NDArray[np.int16]


class Scene:
    """Pieces merged once into flat arrays, so that a frame costs only its moved vertices.

    block_sizes: number of vertices by block name. tints [N, 3] by block name: colours that multiply the textures.
    """

    def __init__(
        self, pieces: list[Piece], block_sizes: dict[str, int], tints: dict[str, NDArray[np.float32]] | None = None
    ) -> None:
        self.pieces = pieces
        self.block_sizes = block_sizes
        starts = dict(zip(block_sizes, np.cumsum([0, *block_sizes.values()])))
        self._faces = np.concatenate([p.faces.astype(np.int32) + np.int32(starts[p.block]) for p in pieces])
        self._corner_uv = np.concatenate([p.corner_uv for p in pieces]).astype(np.float32)
        self._face_piece = np.concatenate([np.full(len(p.faces), i, np.int16) for i, p in enumerate(pieces)])
        self._tint = np.ones((sum(block_sizes.values()), 3), np.float32)
        for name, tint in (tints or {}).items():
            self._tint[starts[name] : starts[name] + len(tint)] = tint
        self._texels, self._texture_table = _pack([p.material.texture for p in pieces])
        self._flags = np.array(
            [[p.material.kind, p.material.two_sided, p.material.screen_door] for p in pieces], np.int32
        )
        self._gloss = np.array([[p.material.gloss, p.material.sharpness] for p in pieces], np.float32)

    def render(
        self,
        posed: dict[str, Posed],
        world_to_cam: NDArray,
        K: NDArray,
        height: int,
        width: int,
        light: Light,
        *,
        supersample: int = 2,
    ) -> Rendered:
        """The posed blocks from a camera: world_to_cam [4, 4], K [3, 3] in output pixels."""
        blocks = [posed[name] for name in self.block_sizes]
        for (name, size), block in zip(self.block_sizes.items(), blocks):
            assert len(block.vertices) == size, name
        vertices = np.concatenate([b.vertices for b in blocks]).astype(np.float32, copy=False)
        normals = np.concatenate([b.normals for b in blocks]).astype(np.float32, copy=False)
        occlusion = np.concatenate(
            [np.ones(len(b.vertices), np.float32) if b.occlusion is None else b.occlusion for b in blocks]
        ).astype(np.float32, copy=False)
        rotation = np.asarray(world_to_cam[:3, :3], np.float32)
        translation = np.asarray(world_to_cam[:3, 3], np.float32)
        in_cam = vertices @ rotation.T + translation
        eye = -rotation.T @ translation
        big_K = np.asarray(K, np.float32) * np.array([[supersample], [supersample], [1]], np.float32)
        face_ids, weights = _rasterize(
            in_cam, self._faces, self._corner_uv, self._face_piece, self._flags, self._texels, self._texture_table,
            big_K, height * supersample, width * supersample,
        )  # fmt: skip
        color = _shade(
            face_ids, weights, vertices, normals, self._tint, occlusion, self._faces, self._corner_uv, self._face_piece,
            self._flags, self._gloss, self._texels, self._texture_table, _LEVELS, light.irradiance, light.directions,
            light.colors, eye,
        )  # fmt: skip
        # INTER_AREA at a whole factor is the plain mean of the samples.
        color = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize((face_ids >= 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        seen = face_ids[supersample // 2 :: supersample, supersample // 2 :: supersample]
        return Rendered(color, alpha, np.where(seen >= 0, self._face_piece[np.maximum(seen, 0)], -1).astype(np.int16))


_LEVELS = srgb_to_linear(np.arange(256) / 255)


def _pack(textures: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All textures in one flat array [T, 4], and a table (first texel, height, width) [M, 3]; shared ones once."""
    known: dict[int, tuple[int, int, int]] = {}
    flat, table, start = [], [], 0
    for texture in textures:
        if id(texture) not in known:
            height, width = texture.shape[:2]
            known[id(texture)] = (start, height, width)
            flat.append(texture.reshape(-1, 4))
            start += height * width
        table.append(known[id(texture)])
    return np.concatenate(flat), np.array(table, np.int64)


@numba.njit(cache=True, inline="always")
def _hash01(a: int, b: int) -> float:
    """A fixed pseudo-random number in [0, 1) for two integers: the same cell has the same value in every frame."""
    h = (a * 374761393 + b * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@numba.njit(cache=True, fastmath=True)
def _rasterize(in_cam, faces, corner_uv, face_piece, flags, texels, table, K, height, width):
    face_ids = np.full((height, width), -1, np.int32)
    depth = np.full((height, width), np.inf, np.float32)
    weights = np.zeros((height, width, 2), np.float32)
    for f in range(faces.shape[0]):
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        z0, z1, z2 = in_cam[i0, 2], in_cam[i1, 2], in_cam[i2, 2]
        if z0 < 0.02 or z1 < 0.02 or z2 < 0.02:
            continue
        x0 = K[0, 0] * in_cam[i0, 0] / z0 + K[0, 2]
        y0 = K[1, 1] * in_cam[i0, 1] / z0 + K[1, 2]
        x1 = K[0, 0] * in_cam[i1, 0] / z1 + K[0, 2]
        y1 = K[1, 1] * in_cam[i1, 1] / z1 + K[1, 2]
        x2 = K[0, 0] * in_cam[i2, 0] / z2 + K[0, 2]
        y2 = K[1, 1] * in_cam[i2, 1] / z2 + K[1, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        piece = face_piece[f]
        # Counter-clockwise seen from outside turns clockwise in an image whose y points down.
        if area == 0.0 or (area > 0.0 and flags[piece, 1] == 0):
            continue
        left = max(int(np.ceil(min(x0, x1, x2) - 0.5)), 0)
        right = min(int(np.floor(max(x0, x1, x2) - 0.5)), width - 1)
        top = max(int(np.ceil(min(y0, y1, y2) - 0.5)), 0)
        bottom = min(int(np.floor(max(y0, y1, y2) - 0.5)), height - 1)
        if left > right or top > bottom:
            continue
        inverse = 1.0 / area
        r0, r1, r2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
        cut = flags[piece, 1] == 1 or flags[piece, 2] == 1
        # Barycentric weights are linear: steps per pixel along x.
        step0, step1 = (y1 - y2) * inverse, (y2 - y0) * inverse
        step2 = -step0 - step1
        px = left + 0.5
        for y in range(top, bottom + 1):
            py = y + 0.5
            w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
            w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
            w2 = 1.0 - w0 - w1
            # The row's span inside all three edges.
            low, high = 0.0, float(right - left)
            for edge in range(3):
                value, slope = (w0, step0) if edge == 0 else ((w1, step1) if edge == 1 else (w2, step2))
                if slope > 0.0:
                    low = max(low, -value / slope)
                elif slope < 0.0:
                    high = min(high, -value / slope)
                elif value < 0.0:
                    high = -1.0
            for k in range(int(np.ceil(low)), int(np.floor(high)) + 1):
                x = left + k
                a0, a1 = w0 + k * step0, w1 + k * step1
                z = 1.0 / (a0 * r0 + a1 * r1 + (1.0 - a0 - a1) * r2)
                if z >= depth[y, x]:
                    continue
                b0 = a0 * r0 * z
                b1 = a1 * r1 * z
                if cut:
                    b2 = 1.0 - b0 - b1
                    u = b0 * corner_uv[f, 0, 0] + b1 * corner_uv[f, 1, 0] + b2 * corner_uv[f, 2, 0]
                    v = b0 * corner_uv[f, 0, 1] + b1 * corner_uv[f, 1, 1] + b2 * corner_uv[f, 2, 1]
                    wide, tall = table[piece, 2], table[piece, 1]
                    tx, ty = min(max(int(u * wide), 0), wide - 1), min(max(int(v * tall), 0), tall - 1)
                    alpha = texels[table[piece, 0] + ty * wide + tx, 3] / 255.0
                    if flags[piece, 2] == 1:
                        # Ordered 2x2 pattern: with 2x supersampling every output pixel gets the same share.
                        threshold = ((x & 1) * 2 + ((x & 1) ^ (y & 1))) * 0.25 + 0.125
                    else:
                        threshold = 0.15 + 0.7 * _hash01(tx, ty)
                    if alpha < threshold:
                        continue
                depth[y, x] = z
                face_ids[y, x] = f
                weights[y, x, 0] = b0
                weights[y, x, 1] = b1
    return face_ids, weights


@numba.njit(cache=True, fastmath=True)
def _shade(
    face_ids, weights, vertices, normals, tint, occlusion, faces, corner_uv, face_piece, flags, gloss,
    texels, table, levels, irradiance, lamp_directions, lamp_colors, eye,
):  # fmt: skip
    height, width = face_ids.shape
    out = np.zeros((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            f = face_ids[y, x]
            if f < 0:
                continue
            b0, b1 = weights[y, x, 0], weights[y, x, 1]
            b2 = np.float32(1.0) - b0 - b1
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            piece = face_piece[f]
            kind = flags[piece, 0]
            u = b0 * corner_uv[f, 0, 0] + b1 * corner_uv[f, 1, 0] + b2 * corner_uv[f, 2, 0]
            v = b0 * corner_uv[f, 0, 1] + b1 * corner_uv[f, 1, 1] + b2 * corner_uv[f, 2, 1]
            start, tall, wide = table[piece, 0], table[piece, 1], table[piece, 2]
            tx = min(max(u * wide - 0.5, 0.0), wide - 1.001)
            ty = min(max(v * tall - 0.5, 0.0), tall - 1.001)
            ix, iy = int(tx), int(ty)
            fx, fy = tx - ix, ty - iy
            t00 = start + iy * wide + ix
            t10 = t00 + wide if iy + 1 < tall else t00
            nx = b0 * normals[i0, 0] + b1 * normals[i1, 0] + b2 * normals[i2, 0]
            ny = b0 * normals[i0, 1] + b1 * normals[i1, 1] + b2 * normals[i2, 1]
            nz = b0 * normals[i0, 2] + b1 * normals[i1, 2] + b2 * normals[i2, 2]
            length = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * length, ny * length, nz * length
            px = b0 * vertices[i0, 0] + b1 * vertices[i1, 0] + b2 * vertices[i2, 0]
            py = b0 * vertices[i0, 1] + b1 * vertices[i1, 1] + b2 * vertices[i2, 1]
            pz = b0 * vertices[i0, 2] + b1 * vertices[i1, 2] + b2 * vertices[i2, 2]
            vx, vy, vz = eye[0] - px, eye[1] - py, eye[2] - pz
            length = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz + 1e-12)
            vx, vy, vz = vx * length, vy * length, vz * length
            facing = nx * vx + ny * vy + nz * vz
            if facing < 0.0 and flags[piece, 1] == 1 and kind != 2:
                nx, ny, nz, facing = -nx, -ny, -nz, -facing
            arriving = b0 * occlusion[i0] + b1 * occlusion[i1] + b2 * occlusion[i2]
            highlight_r, highlight_g, highlight_b = 0.0, 0.0, 0.0
            if gloss[piece, 0] > 0.0:
                # Fresnel (Schlick): skin and cloth reflect more at grazing angles.
                grazing = 1.0 - max(facing, 0.0)
                fresnel = 0.35 + 0.65 * grazing * grazing * grazing * grazing
                for l in range(lamp_directions.shape[0]):
                    lx, ly, lz = lamp_directions[l, 0], lamp_directions[l, 1], lamp_directions[l, 2]
                    hx, hy, hz = lx + vx, ly + vy, lz + vz
                    length = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
                    cosine = (nx * hx + ny * hy + nz * hz) * length
                    toward = nx * lx + ny * ly + nz * lz
                    if cosine <= 0.0 or toward <= 0.0:
                        continue
                    for _ in range(int(gloss[piece, 1])):
                        cosine = cosine * cosine
                    sparkle = gloss[piece, 0] * fresnel * cosine * min(1.0, 4.0 * toward)
                    highlight_r += sparkle * lamp_colors[l, 0]
                    highlight_g += sparkle * lamp_colors[l, 1]
                    highlight_b += sparkle * lamp_colors[l, 2]
            for c in range(3):
                texel = (
                    levels[texels[t00, c]] * (1 - fx) * (1 - fy)
                    + levels[texels[t00 + 1, c]] * fx * (1 - fy)
                    + levels[texels[t10, c]] * (1 - fx) * fy
                    + levels[texels[t10 + 1, c]] * fx * fy
                )
                albedo = texel * (b0 * tint[i0, c] + b1 * tint[i1, c] + b2 * tint[i2, c])
                m = irradiance[c]
                bent = m[0, 0] * nx * nx + m[1, 1] * ny * ny + m[2, 2] * nz * nz
                bent += 2.0 * (m[0, 1] * nx * ny + m[0, 2] * nx * nz + m[1, 2] * ny * nz)
                linear = 2.0 * (m[0, 3] * nx + m[1, 3] * ny + m[2, 3] * nz) + m[3, 3]
                shade = arriving
                if kind == 0:
                    # Light wanders under the skin, red furthest: terminators and shadows turn soft and reddish.
                    bent *= 0.75 if c == 0 else (0.93 if c == 1 else 1.0)
                    if c == 0:
                        shade = arriving * (1.25 - 0.25 * arriving)
                received = max(bent + linear, 0.02 * m[3, 3])
                highlight = highlight_r if c == 0 else (highlight_g if c == 1 else highlight_b)
                out[y, x, c] = albedo * received * shade + highlight * (arriving if kind != 1 else 1.0)
    return out
