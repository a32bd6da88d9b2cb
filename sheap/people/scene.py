"""What the people's own renderer draws: pieces with materials, posed blocks of vertices, and the scene that puts them together.

`sheap.render.mesh` rasterises opaque meshes for training; hair, lashes and lenses need a texture's alpha inside the
depth test, which `sheap.people.rasterizer` adds. Pixel centres at +0.5, OpenCV camera axes, linear light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import srgb_to_linear
from sheap.people.lighting import Lighting
from sheap.people.rasterizer import NUM_HALVINGS, project, rasterize, shade

SKIN, EYE, HAIR, MATTE = 0, 1, 2, 3
"""How a material answers to light."""

_LEVELS = srgb_to_linear(np.arange(256) / 255)

_REFLECTANCE = np.array([0.55, 0.03, 1.8, 0.16])
"""What a gloss of 1 reflects straight on, by kind."""


@dataclass(frozen=True)
class Material:
    """A texture and how it is lit.

    texture: uint8 sRGB [H, W, 4]; alpha decides which pixels exist. kind: SKIN, EYE, HAIR or MATTE. gloss: strength
    of the highlights (0..1, against the kind's own reflectance), sharpness: the lobe of reflections is 2 to this power
    sharp. two_sided: seen from behind too. screen_door: alpha thins the surface evenly (lenses) instead of cutting its
    outline (hair).
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
    """A block of vertices in one frame: vertices [N, 3] (world, m), normals [N, 3] (unit); received [N, 3]: light over
    pi that arrives there (albedo 1 under radiance 1 looks 1), share [N]: of what would arrive if nothing blocked it
    (highlights follow it); tangents [N, 3]: along the fibres of hair (unit; None elsewhere)."""

    vertices: NDArray[np.floating]
    normals: NDArray[np.float32]
    received: NDArray[np.float32]
    share: NDArray[np.float32]
    tangents: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Rendered:
    """color [H, W, 3] linear light, premultiplied by alpha; alpha [H, W]. By the sample nearest to each pixel's centre:
    piece_ids [H, W] int16, the piece seen (-1: none), and depths [H, W], its distance along the view (m; very far: none)."""

    color: NDArray[np.float32]
    alpha: NDArray[np.float32]
    piece_ids: NDArray[np.int16]
    depths: NDArray[np.float32]


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
        count = sum(len(p.faces) for p in pieces)
        self._faces = np.empty((count, 3), np.int32)
        self._corner_uv = np.empty((count, 3, 2), np.float32)
        self._face_piece = np.empty(count, np.int16)
        first = 0
        for number, piece in enumerate(pieces):
            last = first + len(piece.faces)
            np.add(piece.faces, np.int32(starts[piece.block]), out=self._faces[first:last])
            self._corner_uv[first:last] = piece.corner_uv
            self._face_piece[first:last] = number
            first = last
        self._tint = np.ones((sum(block_sizes.values()), 3), np.float32)
        for name, tint in (tints or {}).items():
            self._tint[starts[name] : starts[name] + len(tint)] = tint
        self._texels, self._texture_table = _pack([p.material.texture for p in pieces])
        self._flags = np.array(
            [[p.material.kind, p.material.two_sided, p.material.screen_door] for p in pieces], np.int32
        )
        self._gloss = np.array(
            [[p.material.gloss * _REFLECTANCE[p.material.kind], 2.0**p.material.sharpness] for p in pieces], np.float32
        )

    def render(
        self,
        posed: dict[str, Posed],
        world_to_cam: NDArray,
        K: NDArray,
        height: int,
        width: int,
        lighting: Lighting,
        *,
        supersample: int = 2,
    ) -> Rendered:
        """The posed blocks from a camera: world_to_cam [4, 4], K [3, 3] in output pixels. lighting makes the
        highlights; what else arrives is in the blocks."""
        blocks = [posed[name] for name in self.block_sizes]
        for (name, size), block in zip(self.block_sizes.items(), blocks):
            assert len(block.vertices) == size, name
        vertices, normals, received = (
            np.concatenate([getattr(block, name) for block in blocks]) for name in ("vertices", "normals", "received")
        )
        share = np.concatenate([block.share for block in blocks])
        # Fibres take the place of normals where there are some: hair is lit along them.
        tangents = np.concatenate([b.normals if b.tangents is None else b.tangents for b in blocks])
        rotation = np.asarray(world_to_cam[:3, :3], np.float32)
        translation = np.asarray(world_to_cam[:3, 3], np.float32)
        eye = -rotation.T @ translation
        big_K = np.asarray(K, np.float32) * np.array([[supersample], [supersample], [1]], np.float32)
        seen_at = project(vertices, rotation, translation, big_K)
        face_ids, weights, depth = rasterize(
            seen_at, self._faces, self._corner_uv, self._face_piece, self._flags, self._texels, self._texture_table,
            height * supersample, width * supersample,
        )  # fmt: skip
        color, alpha = shade(
            face_ids, weights, seen_at, vertices, normals, tangents, self._tint, received, share, self._faces,
            self._corner_uv, self._face_piece, self._flags, self._gloss, self._texels, self._texture_table, _LEVELS,
            lighting.directions, lighting.colors, lighting.sharpness, lighting.sky, lighting.side, lighting.ground, eye,
            supersample,
        )  # fmt: skip
        middle = slice(supersample // 2, None, supersample)
        seen = face_ids[middle, middle]
        ids = np.where(seen >= 0, self._face_piece[np.maximum(seen, 0)], -1).astype(np.int16)
        return Rendered(color, alpha, ids, depth[middle, middle])


def _pack(textures: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All textures and their halved copies in one flat array [T, 4], and a table (first texel, height, width) of each
    level [M, 1 + NUM_HALVINGS, 3]; shared ones once."""
    known: dict[int, int] = {}
    flat, table, start = [], np.empty((len(textures), 1 + NUM_HALVINGS, 3), np.int64), 0
    for number, texture in enumerate(textures):
        if (same := known.setdefault(id(texture), number)) != number:
            table[number] = table[same]
            continue
        for level in range(1 + NUM_HALVINGS):
            if level and min(texture.shape[:2]) >= 4:
                height, width = texture.shape[:2]
                texture = cv2.resize(texture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            elif level:
                table[number, level] = table[number, level - 1]
                continue
            table[number, level] = (start, *texture.shape[:2])
            flat.append(texture.reshape(-1, 4))
            start += len(flat[-1])
    return np.concatenate(flat), table
