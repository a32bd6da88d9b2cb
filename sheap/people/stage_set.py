"""What all rendered people share: the head model as arrays, its UV atlas, soft region masks, lids' edges and the torso's loop.

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
from sheap.people.skin import Canvas, EyeOpenings
from sheap.people.uv_atlas import UvPatch, bake_patches

Array = NDArray[np.float32]


@dataclass(frozen=True)
class StageSet:
    """head; template [N, 3], faces [F, 3]; canvases: the skin's patches, ready to paint;
    soft_regions: vertex weights [N] by name;
    neck_loop: the border's vertices in order; rigid_ids: skull vertices that expressions do not move."""

    head: HeadModel
    template: Array
    faces: NDArray[np.int64]
    canvases: list[Canvas]
    soft_regions: dict[str, Array]
    neck_loop: NDArray[np.int64]
    rigid_ids: NDArray[np.int64]

    @classmethod
    def build(cls, head: HeadModel) -> StageSet:
        template = head.template.numpy().astype(np.float32)
        faces = head.faces.numpy()
        masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
        canvases = [
            Canvas.prepare(patch, _lid_edges(patch, template, faces, masks) if patch.name == "face" else None)
            for patch in bake_patches(head)
        ]
        weights = head.skinning_weights.numpy()
        skull = masks["scalp"] & (weights[:, 1] > 0.999) & (template[:, 1] > 0.02)
        return cls(
            head, template, faces, canvases, {name: mask.astype(np.float32) for name, mask in masks.items()},
            border_loop(template, faces), np.flatnonzero(skull),
        )  # fmt: skip


def _lid_edges(patch: UvPatch, template: Array, faces: NDArray, masks: dict[str, NDArray]) -> EyeOpenings:
    """Distances to the loop where lid skin meets the eye socket, its upper and lower half."""
    socket = masks["eye_sockets"][faces].all(1)
    skin = masks["skin"][faces].all(1) & ~socket
    ids = np.intersect1d(faces[socket], faces[skin])
    loop = template[ids]
    distances = []
    for side in (1, -1):
        half = loop[loop[:, 0] * side > 0]
        inner, outer = half[np.abs(half[:, 0]).argmin()], half[np.abs(half[:, 0]).argmax()]
        t = (np.abs(half[:, 0]) - abs(inner[0])) / (abs(outer[0]) - abs(inner[0]))
        is_upper = half[:, 1] > inner[1] + t * (outer[1] - inner[1])
        distances.append([_near(patch.positions, half[is_upper]), _near(patch.positions, half[~is_upper])])
    upper, lower = (np.minimum(distances[0][k], distances[1][k]) for k in range(2))
    return EyeOpenings(upper, lower)


def _near(points: Array, line: Array) -> Array:
    """Distance of points [H, W, 3] to a polyline given by its vertices in any order (sorted by x), far ones capped."""
    line = line[np.argsort(line[:, 0])]
    steps = np.linspace(0, 1, 12, endpoint=False, dtype=np.float32)[None, :, None]
    dense = (line[:-1, None] * (1 - steps) + line[1:, None] * steps).reshape(-1, 3)
    distance, _ = cKDTree(dense).query(points.reshape(-1, 3), distance_upper_bound=0.03)
    return np.minimum(distance, 0.03).reshape(points.shape[:2]).astype(np.float32)


@cache
def shared_stage() -> StageSet:
    """The open head's stage set, built at most once a process, on one thread (processes share the cores)."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return StageSet.build(HeadModel.load())
