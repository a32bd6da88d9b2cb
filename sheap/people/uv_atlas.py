"""Where each texel of the head's skin lies in space, so that skin can be painted by place ("red near the cheeks").

The head's UV layout gives the face few texels, so the atlas is cut into patches of different density: the face is
fine, the rest coarse. A patch's texture is a picture of a rectangle of the UV plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from sheap.head.model import HeadModel

Array = NDArray[np.float32]

PAINTED_REGIONS = ("lips", "ears", "eyelids", "eye_sockets", "mouth_interior", "nose", "scalp", "neck", "face")
"""Region masks whose soft weights every patch carries."""


@dataclass(frozen=True)
class UvPatch:
    """One rectangle of the UV plane. faces [P]: the head's faces it textures; corner_uv [P, 3, 2]: their UVs inside
    the patch (0..1, origin top-left); box (u0, v0, u1, v1) in the head's UVs (origin bottom-left).
    positions [H, W, 3]: the mean head's surface, metres; regions: soft weights [H, W] by name."""

    name: str
    faces: NDArray[np.int64]
    corner_uv: Array
    box: tuple[float, float, float, float]
    positions: Array
    regions: dict[str, Array]

    @property
    def shape(self) -> tuple[int, int]:
        return self.positions.shape[:2]


_PATCHES = (
    # name, (u0, v0, u1, v1), texels per unit of UV
    ("face", (0.748, 0.355, 0.975, 0.612), 1900),
    ("skull", (0.630, 0.140, 1.000, 0.862), 700),
    ("nape", (0.230, 0.815, 0.532, 0.985), 500),
    ("sockets", (0.005, 0.540, 0.160, 0.640), 500),
    ("mouth", (0.750, 0.005, 0.930, 0.142), 500),
)
"""Covers every skin face of the open head; faces go to the first patch that holds all their corners."""


def bake_patches(head: HeadModel, texel_scale: float = 1.0) -> list[UvPatch]:
    """The atlas of a head model that has the open head's UV layout. texel_scale: 0.5 halves the sides of all pictures.

    Raises ValueError when some skin face lies in no patch (another head model's UVs).
    """
    if head.uv_coords is None or head.uv_faces is None:
        raise ValueError("head: has no UVs; rendered people need the open head")
    uv = head.uv_coords.numpy()[head.uv_faces.numpy()].astype(np.float32)
    faces = head.faces.numpy()
    masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
    template = head.template.numpy().astype(np.float32)
    weights = np.stack([masks[name] for name in PAINTED_REGIONS], -1).astype(np.float32)
    values = np.concatenate([template, weights], 1)
    left = masks["skin"][faces].all(1)
    patches = []
    for name, box, density in _PATCHES:
        u0, v0, u1, v1 = box
        inside = left & ((uv >= (u0, v0)) & (uv <= (u1, v1))).all((1, 2))
        left &= ~inside
        ids = np.flatnonzero(inside)
        corner_uv = np.stack([(uv[ids, :, 0] - u0) / (u1 - u0), (v1 - uv[ids, :, 1]) / (v1 - v0)], -1)
        height, width = (round(side * density * texel_scale) for side in (v1 - v0, u1 - u0))
        baked, covered = fill_triangles((corner_uv * (width, height)).astype(np.float32), values[faces[ids]], height, width)
        baked = _grow(baked, covered)
        regions = {region: baked[..., 3 + k] for k, region in enumerate(PAINTED_REGIONS)}
        patches.append(UvPatch(name, ids, corner_uv.astype(np.float32), box, baked[..., :3], regions))
    if left.any():
        raise ValueError(
            f"head: {int(left.sum())} skin faces lie outside the known UV layout; people need the open head"
        )
    return patches


def crop_texture(image: NDArray[np.uint8], patch: UvPatch) -> NDArray[np.uint8]:
    """The part of a whole-body texture (square, MakeHuman's layout) that a patch shows, resized to the patch."""
    height, width = image.shape[:2]
    u0, v0, u1, v1 = patch.box
    rows, columns = patch.shape
    scale = np.array([[(u1 - u0) * width / columns, 0, 0], [0, (v1 - v0) * height / rows, 0]], np.float32)
    scale[:, 2] = (u0 * width + 0.5 * scale[0, 0] - 0.5, (1 - v1) * height + 0.5 * scale[1, 1] - 0.5)
    return cv2.warpAffine(
        image, scale, (columns, rows), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def texel_corners(patch: UvPatch, faces: NDArray) -> tuple[NDArray[np.int32], Array]:
    """The vertices [H, W, 3] of the face under each of a patch's texels, and their barycentric weights [H, W, 3]. faces [F, 3]:
    the head's."""
    height, width = patch.shape
    values = np.zeros((len(patch.faces), 3, 4), np.float32)
    values[..., :3] = np.eye(3, dtype=np.float32)
    values[..., 3] = np.arange(len(patch.faces), dtype=np.float32)[:, None]
    filled, covered = fill_triangles((patch.corner_uv * (width, height)).astype(np.float32), values, height, width)
    filled = _grow(filled, covered)
    ids = np.round(filled[..., 3]).astype(np.int64)
    return faces[patch.faces][ids].astype(np.int32), np.ascontiguousarray(filled[..., :3])


@numba.njit(cache=True)
def fill_triangles(corners, values, height, width):
    """Interpolates corner values [F, 3, C] over triangles at texel positions [F, 3, 2]."""
    channels = values.shape[2]
    out = np.zeros((height, width, channels), np.float32)
    covered = np.zeros((height, width), np.bool_)
    for f in range(corners.shape[0]):
        x0, y0 = corners[f, 0]
        x1, y1 = corners[f, 1]
        x2, y2 = corners[f, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        for y in range(max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, height)):
            for x in range(max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, width)):
                px, py = x + 0.5, y + 0.5
                w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) / area
                w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) / area
                w2 = 1.0 - w0 - w1
                if w0 < -1e-4 or w1 < -1e-4 or w2 < -1e-4:
                    continue
                covered[y, x] = True
                for c in range(channels):
                    out[y, x, c] = w0 * values[f, 0, c] + w1 * values[f, 1, c] + w2 * values[f, 2, c]
    return out, covered


def _grow(image: Array, covered: NDArray[np.bool_]) -> Array:
    """Texels outside the island take the nearest inside texel, so that bilinear lookups at seams stay clean."""
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros(labels.max() + 1, np.int64)
    flat = np.flatnonzero(covered)
    source[labels.reshape(-1)[flat]] = flat
    return image.reshape(-1, image.shape[-1])[source[labels]]
