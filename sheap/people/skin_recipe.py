"""Makes the statistical skin out of a folder of MakeHuman's CC0 assets (`python -m pipeline.commands.looks build`).

The skins share the base mesh's UV layout with the open head, so they are aligned at eyes, nose and lips by their making. Painted
scalp hair is taken off: under it, colour runs on from the bare skin around it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from sheap.head.model import HeadModel
from sheap.people import face_places as places
from sheap.people.colours import bytes_to_linear
from sheap.people.makehuman import MakeHumanAssets, read_image
from sheap.people.noise import smoothstep
from sheap.people.skin_model import (
    BROW_BOX,
    BROW_TEXEL,
    DETAIL_BOXES,
    DETAIL_DENSITY,
    DETAIL_RANGE,
    SkinModel,
    Source,
)
from sheap.people.uv_atlas import fill_triangles

Array = NDArray[np.float32]

_AGES = {"young": 25.0, "middleage": 50.0, "old": 70.0}
_ANCESTRIES = {"african": (1.0, 0.0, 0.0), "asian": (0.0, 1.0, 0.0), "caucasian": (0.0, 0.0, 1.0)}
_SMOOTH_PX = 2.0
_FILL_ROUNDS = 400


def build_skins(assets: MakeHumanAssets, head: HeadModel) -> SkinModel:
    """All skins and brows of the folder. Raises ValueError when it lacks one kind or a skin's name does not say whose it is."""
    if not assets.skins or not assets.brows:
        raise ValueError(f"assets: {assets.folder} holds no skins/*.jpg or no eyebrows/")
    surface = _Surface(head)
    sources, tones, colours, details = [], [], [], {name: [] for name in DETAIL_BOXES}
    for path in assets.skins:
        sources.append(_source(path))
        tone, colour, detail = surface.take_apart(read_image(path)[..., :3])
        tones.append(tone)
        colours.append(colour)
        for name, box in DETAIL_BOXES.items():
            details[name].append(_as_bytes(_cut(detail, box, DETAIL_DENSITY[name])))
    points = np.concatenate([head.template.numpy(), head.attachment_template.numpy()]).astype(np.float32)
    brows = np.stack([_brow_picture(assets, path, points) for path in assets.brows])
    return SkinModel(
        tuple(sources), np.stack(tones), np.stack(colours), {k: np.stack(v) for k, v in details.items()}, brows
    )


def _source(path: Path) -> Source:
    words = path.stem.split("_")
    try:
        age, ancestry, sex = _AGES[words[0]], _ANCESTRIES[words[1]], words[2].rstrip("0123456789")
    except (KeyError, IndexError):
        raise ValueError(f"{path}: named otherwise than AGE_ANCESTRY_SEX.jpg, as young_asian_female.jpg") from None
    if sex not in ("female", "male"):
        raise ValueError(f"{path}: named otherwise than AGE_ANCESTRY_SEX.jpg, as young_asian_female.jpg")
    return Source(path.stem, sex, age, ancestry)


class _Surface:
    """The head's skin on the plane of a square whole-body picture."""

    def __init__(self, head: HeadModel, size: int = 1024) -> None:
        self.size = size
        faces, template = head.faces.numpy(), head.template.numpy().astype(np.float32)
        masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
        assert head.uv_coords is not None and head.uv_faces is not None, "the open head has an atlas"
        uv = head.uv_coords.numpy()[head.uv_faces.numpy()].astype(np.float32)
        skin = masks["skin"][faces].all(1)
        self.faces, self.count = faces[skin], len(template)
        self.corners = np.stack([uv[skin, :, 0], 1 - uv[skin, :, 1]], -1) * np.float32(size)
        inner = (masks["eye_sockets"] | masks["mouth_interior"]).astype(np.float32)
        above = places.hairline_height(template)
        # Painted hair starts a little below where ours does, most of all at the temples.
        hairy = smoothstep(-0.022, -0.008, above) * (1 - masks["ears"].astype(np.float32))
        self.bare = (1 - hairy) * masks["skin"]
        tone = (masks["face"] & ~masks["lips"] & ~masks["eyelids"]).astype(np.float32) * self.bare * (1 - inner)
        self.tone_weight = tone / tone.sum()
        values = np.stack([self.bare[self.faces], np.ones_like(self.faces, np.float32)], -1)
        filled, covered = fill_triangles(self.corners, values, size, size)
        self.bare_map, self.covered = filled[..., 0], covered
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        ones = np.ones(2 * len(edges), np.float32)
        rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
        near = coo_matrix((ones, (rows, columns)), shape=(self.count, self.count)).tocsr()
        self.near, self.degree = near, np.maximum(near.sum(1).A, 1)

    def take_apart(self, picture: NDArray[np.uint8]) -> tuple[Array, Array, Array]:
        """A skin's mean tone [3], colour a vertex [V, 3] beside it, and detail [size, size], in log of linear light."""
        if picture.shape[:2] != (self.size, self.size):
            picture = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        logs = np.log(np.maximum(bytes_to_linear(picture), np.float32(0.004)))
        weight = self.covered * (0.02 + self.bare_map)
        spread = cv2.GaussianBlur(weight.astype(np.float32), None, _SMOOTH_PX)
        smooth = cv2.GaussianBlur(logs * weight[..., None].astype(np.float32), None, _SMOOTH_PX) / (spread[..., None] + 1e-6)
        at = (self.corners - 0.5).reshape(-1, 2)
        sampled = cv2.remap(smooth, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR)[0]
        total, uses = np.zeros((self.count, 3), np.float32), np.zeros((self.count, 1), np.float32)
        np.add.at(total, self.faces.ravel(), sampled)
        np.add.at(uses, self.faces.ravel(), 1)
        colour = total / np.maximum(uses, 1)
        tone = (colour * self.tone_weight[:, None]).sum(0)
        colour = self._under_hair(np.where(uses > 0, colour - tone, 0))
        filled, _ = fill_triangles(self.corners, colour[self.faces], self.size, self.size)
        light = logs.mean(-1)
        smooth_light = cv2.GaussianBlur(light, None, 3.0)
        bare = np.where(self.covered, self.bare_map, 0)
        detail = bare * (light - tone.mean() - filled.mean(-1)) + (1 - bare) * 0.25 * (light - smooth_light)
        return tone.astype(np.float32), colour, np.where(self.covered, detail, 0).astype(np.float32)

    def _under_hair(self, colour: Array) -> Array:
        """Bare colour runs on under the hair, as heat would, and fades to the mean tone far from it."""
        bare = self.bare[:, None]
        filled = colour * bare
        for _ in range(_FILL_ROUNDS):
            filled = bare * colour + (1 - bare) * 0.995 * (self.near @ filled) / self.degree
        return np.asarray(filled, np.float32)


def _cut(image: Array, box: tuple[float, float, float, float], density: int) -> Array:
    size = image.shape[0]
    u0, v0, u1, v1 = box
    width, height = round((u1 - u0) * density), round((v1 - v0) * density)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x = (u0 + x / width * (u1 - u0)) * size - 0.5
    y = (1 - v1 + y / height * (v1 - v0)) * size - 0.5
    if density < size:
        image = cv2.GaussianBlur(image, None, 0.4 * size / density)
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)


def _as_bytes(detail: Array) -> NDArray[np.uint8]:
    return np.clip(np.round(128 + 127 * detail / DETAIL_RANGE), 1, 255).astype(np.uint8)


def _brow_picture(assets: MakeHumanAssets, path: Path, points: Array) -> NDArray[np.uint8]:
    """Cover of the left brow, seen from the front on the mean head."""
    mesh = assets.mesh(path)
    vertices, _ = mesh.fitted(points)
    left, bottom, right, top = BROW_BOX
    width, height = round((right - left) / BROW_TEXEL), round((top - bottom) / BROW_TEXEL)
    fine = 2
    corners = vertices[mesh.faces][..., :2] - np.array([left, top], np.float32)
    corners = corners * np.array([fine / BROW_TEXEL, -fine / BROW_TEXEL], np.float32)
    uv, covered = fill_triangles(corners.astype(np.float32), mesh.corner_uv, height * fine, width * fine)
    alpha = mesh.texture[..., 3].astype(np.float32)
    size = np.array(alpha.shape[::-1], np.float32)
    at = uv * size - 0.5
    picture = cv2.remap(alpha, at[..., 0], at[..., 1], cv2.INTER_LINEAR) * covered
    return np.round(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)).astype(np.uint8)
