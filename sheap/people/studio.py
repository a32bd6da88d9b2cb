"""What all rendered people share: the head model as arrays, its UV atlas, soft region masks, lids' edges and the
torso's loop.

Built once a process; a person adds only what is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from sheap.head.model import HeadModel
from sheap.people.clothes import border_loop
from sheap.people.hair import HairStock
from sheap.people.occlusion import head_visibility, irradiance
from sheap.people.posing import Rig
from sheap.people.shapes import smooth_normals
from sheap.people.skin import Canvas, EyeOpenings
from sheap.people.skin_ground import SkinGround
from sheap.people.skin_model import open_skins
from sheap.people.uv_atlas import UvPatch, bake_patches

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Studio:
    """head; template [N, 3], faces [F, 3]; skin_ground: what all skins share; hair_stock: hair on the mean head;
    soft_regions: vertex weights [N] by name;
    normals [N, 3]: the template's; visibility [N, D]: what each vertex of it sees past the head (see
    sheap.people.occlusion), and blocked [N]: the share of its light that the head itself stops; neighbours: the
    vertices around each one, as a row-normalised sparse matrix [N, N]; outer_faces [O, 3]: without what lies
    inside; frontal_ids: the face's vertices; eyeballs: left and right one's vertices;
    rig: for posing; neck_loop: the border's vertices in order; upper_lids: vertices along the edges of the upper
    lids; rigid_ids: skull vertices that expressions do not move; lids: of either eye, vertices along the upper and
    the lower lid's edge; inner_lips: indices of the landmarks in the middle of the upper and the lower inner lip."""

    head: HeadModel
    template: Array
    faces: NDArray[np.int64]
    skin_ground: SkinGround
    hair_stock: HairStock
    soft_regions: dict[str, Array]
    normals: Array
    visibility: Array
    blocked: Array
    neighbours: csr_matrix
    outer_faces: NDArray[np.int64]
    frontal_ids: NDArray[np.int64]
    eyeballs: tuple[NDArray[np.int64], NDArray[np.int64]]
    rig: Rig
    neck_loop: NDArray[np.int64]
    upper_lids: NDArray[np.int64]
    rigid_ids: NDArray[np.int64]
    lids: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    inner_lips: tuple[int, int] = (13, 14)
    landmark_corners: NDArray[np.int64] = field(init=False)
    landmark_weights: Array = field(init=False)
    _canvases: dict[float, list[Canvas]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        head = self.head
        object.__setattr__(self, "landmark_corners", self.faces[head.landmark_faces.numpy()])
        object.__setattr__(self, "landmark_weights", head.landmark_barycentrics.numpy()[..., None])

    @classmethod
    def build(cls, head: HeadModel) -> Studio:
        template = head.template.numpy().astype(np.float32)
        faces = head.faces.numpy()
        masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
        lids = _lid_halves(template, faces, masks)
        skins = open_skins()
        regions = {name: mask.astype(np.float32) for name, mask in masks.items()}
        upper_lids = np.concatenate([upper for upper, _ in lids])
        weights = head.skinning_weights.numpy()
        skull = masks["scalp"] & (weights[:, 1] > 0.999) & (template[:, 1] > 0.02)
        normals = smooth_normals(template, faces)
        # Eyeballs have few vertices: from the surface, those under the lids would darken the open part between them.
        visibility = head_visibility(template, normals, faces, np.where(masks["eyeballs"], 0.0032, 0.0008))
        # The mouth is measured shut: what is inside has its own rule for how far it is open.
        visibility[masks["teeth"] | masks["tongue"] | masks["mouth_interior"]] = 1
        even = np.full((visibility.shape[1], 3), 1 / visibility.shape[1], np.float32)
        return cls(
            head, template, faces, SkinGround.prepare(skins, template, regions),
            HairStock(template, head.attachment_template.numpy(), normals, faces, regions, upper_lids), regions,
            normals, visibility, 1 - irradiance(normals, visibility, even)[1], _neighbours(faces, masks["skin"]),
            faces[~(masks["mouth_interior"] | masks["eye_sockets"] | masks["teeth"] | masks["tongue"])[faces].any(1)],
            np.flatnonzero(masks["face"] & ~masks["eye_sockets"] & ~masks["mouth_interior"]),
            (np.flatnonzero(masks["eyeball_left"]), np.flatnonzero(masks["eyeball_right"])), Rig.of(head),
            border_loop(template, faces), upper_lids, np.flatnonzero(skull), lids,
        )  # fmt: skip

    def canvases_at(self, scale: float) -> list[Canvas]:
        """The skin's patches, ready to paint, with `scale` times as many texels a side: 0.5 is enough for photographs of up to
        224 px. Made once for each scale."""
        if scale not in self._canvases:
            skins = open_skins()
            self._canvases[scale] = [
                Canvas.prepare(
                    patch, _lid_edges(patch, self.template, self.lids) if patch.name == "face" else None, self.faces, skins
                )
                for patch in bake_patches(self.head, scale)
            ]
        return self._canvases[scale]


def _neighbours(faces: NDArray, skin: NDArray[np.bool_]) -> csr_matrix:
    """Around each skin vertex, with equal weights; other vertices are their own only neighbour."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[skin[edges].all(1)]
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    alone = np.setdiff1d(np.arange(len(skin)), edges[:, 0])
    rows, columns = np.concatenate([edges[:, 0], alone]), np.concatenate([edges[:, 1], alone])
    weights = (1 / np.bincount(rows, minlength=len(skin)))[rows]
    return csr_matrix((weights.astype(np.float32), (rows, columns)), (len(skin), len(skin)))


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
def shared_studio() -> Studio:
    """The open head's studio, built at most once a process, on one thread (processes share the cores)."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return Studio.build(HeadModel.load())
