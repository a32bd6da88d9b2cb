"""The head's mesh: which base-mesh vertices and faces it keeps, as triangles with UVs.

Beside the mesh's own vertices the recipe carries some loose points of the base mesh along, the attachments: MakeHuman's
lashes and long hair are bound to them. Arrays over "points" [P] hold the N vertices first and then the attachments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags

from sheap.head.recipe.source import BaseMesh

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

PARTS = {
    "skin": "body",
    "eyeball_left": "helper-l-eye",
    "eyeball_right": "helper-r-eye",
    "tongue": "helper-tongue",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
}
"""Parts of the head and the OBJ groups of the base mesh they come from."""


ATTACHMENT_GROUPS = (
    "helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2", "helper-hair"
)  # fmt: skip


@dataclass(frozen=True)
class HeadTopology:
    """num_vertices: N. base_ids [P]: each point's index in the base mesh, ascending among the vertices and among the
    attachments. faces, uv_faces [F, 3]; uv_coords [T, 2]; mirror [P]: each point's partner on the other side;
    face_parts [F]: index into PARTS."""

    num_vertices: int
    base_ids: IntArray
    faces: IntArray
    uv_coords: Array
    uv_faces: IntArray
    mirror: IntArray
    face_parts: IntArray

    def part_mask(self, part: str) -> NDArray[np.bool_]:
        """Points [P] of one of PARTS."""
        mask = np.zeros(len(self.base_ids), dtype=bool)
        mask[self.faces[self.face_parts == list(PARTS).index(part)]] = True
        return mask

    def local_ids(self, base_ids: IntArray) -> IntArray:
        """Point indices of base-mesh vertices, all of which must be on the head."""
        order = np.argsort(self.base_ids)
        found = order[np.searchsorted(self.base_ids, base_ids, sorter=order)]
        assert (self.base_ids[found] == base_ids).all(), "a base-mesh vertex is not on the head"
        return found


def subtree_weight(base: BaseMesh, root: str) -> Array:
    """Sum of the skinning weights [B] of a bone and everything below it."""
    members, total = {root}, base.bone_weights[root].copy()
    for label in base.bone_weights:  # parents come before their children
        if base.bone_parents.get(label) in members:
            members.add(label)
            total += base.bone_weights[label]
    return total


def crop_head(base: BaseMesh, min_neck_weight: float) -> HeadTopology:
    """Skin faces whose every vertex belongs to the neck's subtree by more than `min_neck_weight`, with eyes, tongue
    and teeth."""
    on_head = subtree_weight(base, "neck01") > min_neck_weight
    faces, uv_faces, parts = [], [], []
    for index, (part, group) in enumerate(PARTS.items()):
        quads, uv_quads = base.quads[group], base.uv_quads[group]
        if part == "skin":
            keep = on_head[quads].all(axis=1)
            quads, uv_quads = quads[keep], uv_quads[keep]
        corners = _shorter_diagonal(quads, base)
        faces.append(np.take_along_axis(quads[:, None], corners, axis=2).reshape(-1, 3))
        uv_faces.append(np.take_along_axis(uv_quads[:, None], corners, axis=2).reshape(-1, 3))
        parts.append(np.full(2 * len(quads), index))
    vertex_ids, faces_local = np.unique(np.concatenate(faces), return_inverse=True)
    attachment_ids = np.unique(np.concatenate([base.quads[group].reshape(-1) for group in ATTACHMENT_GROUPS]))
    base_ids = np.concatenate([vertex_ids, attachment_ids])
    uv_ids, uv_faces_local = np.unique(np.concatenate(uv_faces), return_inverse=True)
    order = np.argsort(base_ids)
    return HeadTopology(
        num_vertices=len(vertex_ids),
        base_ids=base_ids,
        faces=faces_local.reshape(-1, 3),
        uv_coords=base.uv_coords[uv_ids],
        uv_faces=uv_faces_local.reshape(-1, 3),
        mirror=order[np.searchsorted(base_ids, base.mirror[base_ids], sorter=order)],
        face_parts=np.concatenate(parts),
    )


def _shorter_diagonal(quads: IntArray, base: BaseMesh) -> IntArray:
    """Corner indices [Q, 2, 3] that cut each quad along its shorter diagonal; the template is symmetric, so the cut
    is too."""
    corners = base.template[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=-1)
    second = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=-1)
    cuts = np.array([[[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]])
    return cuts[(second < first - 1e-9).astype(np.int64)]


def border_vertices(faces: IntArray) -> IntArray:
    """Vertices of edges that only one triangle has."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[counts == 1])


def mesh_edges(faces: IntArray) -> IntArray:
    """Undirected edges [E, 2] of a triangle mesh."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(edges, axis=0)


def smooth_over_mesh(values: Array, head: HeadTopology, steps: int) -> Array:
    """Numbers per point [P] averaged with those of the neighbours, `steps` times, half and half."""
    count = len(values)
    i, j = mesh_edges(head.faces).T
    adjacency = coo_matrix((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(count, count)).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    average = diags(1 / np.maximum(degree, 1)) @ adjacency
    for _ in range(steps):
        values = np.where(degree > 0, 0.5 * values + 0.5 * (average @ values), values)
    return values
