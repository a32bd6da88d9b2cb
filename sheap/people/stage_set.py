"""What all rendered people share: the head model as arrays, its UV atlas, soft region masks, lids' edges and the
torso's loop.

Built once a process; a person adds only what is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sheap.head.model import HeadModel
from sheap.people.clothes import border_loop
from sheap.people.hair import HairStock
from sheap.people.skin import Canvas, EyeOpenings
from sheap.people.skin_ground import SkinGround
from sheap.people.skin_model import open_skins
from sheap.people.uv_atlas import UvPatch, bake_patches
from sheap.render.mesh import vertex_normals

Array = NDArray[np.float32]


@dataclass(frozen=True)
class StageSet:
    """head; template [N, 3], faces [F, 3]; skin_ground: what all skins share; canvases: the skin's patches, ready to paint;
    hair_stock: hair on the mean head;
    soft_regions: vertex weights [N] by name;
    neck_loop: the border's vertices in order; upper_lids: vertices along the edges of the upper lids; rigid_ids:
    skull vertices that expressions do not move; inner_lips: indices of the landmarks in the middle of the upper and
    the lower inner lip."""

    head: HeadModel
    template: Array
    faces: NDArray[np.int64]
    skin_ground: SkinGround
    canvases: list[Canvas]
    hair_stock: HairStock
    soft_regions: dict[str, Array]
    neck_loop: NDArray[np.int64]
    upper_lids: NDArray[np.int64]
    rigid_ids: NDArray[np.int64]
    inner_lips: tuple[int, int] = (13, 14)

    @classmethod
    def build(cls, head: HeadModel, texel_scale: float = 1.0) -> StageSet:
        """texel_scale: size of the skin's pictures; 0.5 is enough for photographs of up to 224 px."""
        template = head.template.numpy().astype(np.float32)
        faces = head.faces.numpy()
        masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
        lids = _lid_halves(template, faces, masks)
        skins = open_skins()
        canvases = [
            Canvas.prepare(patch, _lid_edges(patch, template, lids) if patch.name == "face" else None, faces, skins)
            for patch in bake_patches(head, texel_scale)
        ]
        regions = {name: mask.astype(np.float32) for name, mask in masks.items()}
        upper_lids = np.concatenate([upper for upper, _ in lids])
        normals = vertex_normals(head.template, head.faces).numpy()
        weights = head.skinning_weights.numpy()
        skull = masks["scalp"] & (weights[:, 1] > 0.999) & (template[:, 1] > 0.02)
        return cls(
            head, template, faces, SkinGround.prepare(skins, template, regions), canvases,
            HairStock(template, head.attachment_template.numpy(), normals, faces, regions, upper_lids), regions,
            border_loop(template, faces), upper_lids, np.flatnonzero(skull),
        )  # fmt: skip


_LID_RINGS = 3
"""Rings of vertices between the eye socket and the front edge of a lid, where lashes grow."""


def _lid_halves(template: Array, faces: NDArray, masks: dict[str, NDArray]) -> list[tuple[NDArray, NDArray]]:
    """Left and right eye: the vertices along the front edges of its upper and its lower lid."""
    socket = masks["eye_sockets"][faces].all(1)
    skin = masks["skin"][faces].all(1) & ~socket
    edge = np.intersect1d(faces[socket], faces[skin])
    passed = edge
    for _ in range(_LID_RINGS):
        touched = np.unique(faces[skin][np.isin(faces[skin], edge).any(1)])
        edge = np.setdiff1d(touched, passed)
        passed = np.union1d(passed, edge)
    halves = []
    for side in (1, -1):
        eye = edge[template[edge, 0] * side > 0]
        points = template[eye]
        inner, outer = points[np.abs(points[:, 0]).argmin()], points[np.abs(points[:, 0]).argmax()]
        t = (np.abs(points[:, 0]) - abs(inner[0])) / (abs(outer[0]) - abs(inner[0]))
        is_upper = points[:, 1] > inner[1] + t * (outer[1] - inner[1])
        halves.append((eye[is_upper], eye[~is_upper]))
    return halves


def _lid_edges(patch: UvPatch, template: Array, lids: list[tuple[NDArray, NDArray]]) -> EyeOpenings:
    """Distances of a patch's texels to the upper and the lower lids' edges."""
    upper, lower = (np.minimum(*(_near(patch.positions, template[halves[k]]) for halves in lids)) for k in range(2))
    return EyeOpenings(upper, lower)


def _near(points: Array, line: Array) -> Array:
    """Distance of points [H, W, 3] to a polyline given by its vertices in any order (sorted by x), far ones capped."""
    line = line[np.argsort(line[:, 0])]
    steps = np.linspace(0, 1, 12, endpoint=False, dtype=np.float32)[None, :, None]
    dense = (line[:-1, None] * (1 - steps) + line[1:, None] * steps).reshape(-1, 3)
    distance, _ = cKDTree(dense).query(points.reshape(-1, 3), distance_upper_bound=0.03)
    return np.minimum(distance, 0.03).reshape(points.shape[:2]).astype(np.float32)


@cache
def shared_stage(texel_scale: float = 1.0) -> StageSet:
    """The open head's stage set, built at most once a process and scale, on one thread (processes share the cores)."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return StageSet.build(HeadModel.load(), texel_scale)
