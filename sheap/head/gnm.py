"""GNM Head (Google, Apache-2.0; arXiv 2607.23687) as a head model, from its publisher's `gnm_head.npz`.

Its joint `neck` turns everything and is our root; its `head` hangs on it and is our neck. It has no jaw joint: the mouth opens by
expression. GNM keeps its own origin; its axes and unit are ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.head.array_files import Arrays, array_of, float_tensor, indices_of, read_arrays
from sheap.head.data import HeadData, JointBasis
from sheap.head.regions import eyeball_regions

JOINTS = {"root": "neck", "neck": "head", "eye_left": "left_eye", "eye_right": "right_eye"}
"""Our names of GNM's joints."""
PARENTS = {"neck": None, "head": "neck", "left_eye": "head", "right_eye": "head"}
MARKS = frozenset({"template_vertex_positions", "vertex_identity_basis", "joint_identity_basis", "pose_correctives_regressor"})
"""Names that no other model has: any of them says that a file is meant to be GNM's."""
INSIDE_GROUPS = ("teeth", "gum", "tongue", "mouth_sock")


def read_gnm(path: Path) -> HeadData:
    """Raises ValueError naming file and array when one is missing, renamed or of another size, OSError for an unreadable file."""
    arrays = read_arrays(path)
    template = array_of(arrays, "template_vertex_positions", path, (None, 3), "f4")
    count = len(template)
    identity = array_of(arrays, "vertex_identity_basis", path, (None, count, 3), "f4")
    expression = array_of(arrays, "expression_basis", path, (None, count, 3), "f4")
    order = _joint_order(arrays, path)
    joints = array_of(arrays, "template_joint_positions", path, (len(JOINTS), 3), "f4")[order]
    joint_shape = array_of(arrays, "joint_identity_basis", path, (len(identity), len(JOINTS), 3), "f4")[:, order]
    weights = float_tensor(array_of(arrays, "skinning_weights", path, (len(JOINTS), count), "f4")[order].T)
    faces = indices_of(arrays, "triangles", path, count)
    uv_coords, uv_faces = _uvs(arrays, faces, path)
    correctives = array_of(arrays, "pose_correctives_regressor", path, (9 * len(JOINTS), 3 * count), "f4")
    correctives = correctives.reshape(len(JOINTS), 9, -1)[order].reshape(9 * len(JOINTS), -1)
    return HeadData(
        template=float_tensor(template),
        faces=torch.as_tensor(faces),
        uv_coords=uv_coords,
        uv_faces=uv_faces,
        shape_basis=float_tensor(identity.transpose(1, 2, 0)),
        expression_basis=float_tensor(expression.transpose(1, 2, 0)),
        eyelid_basis=None,
        joint_names=tuple(JOINTS),
        joint_regressor=None,
        joint_basis=JointBasis(
            float_tensor(joints),
            float_tensor(joint_shape.transpose(1, 2, 0)),
            torch.zeros(len(JOINTS), 3, len(expression)),
        ),
        skinning_weights=weights,
        now_points=None,
        # Version 3 ships zeros.
        pose_basis=float_tensor(correctives.T.reshape(count, 3, -1)) if correctives.any() else None,
        regions=_regions(arrays, weights, count, path),
    )


def _joint_order(arrays: Arrays, path: Path) -> list[int]:
    """Where each of our joints stands in GNM's arrays."""
    if "joint_names" not in arrays:
        raise ValueError(f"{path}: lacks 'joint_names'")
    names = [str(name) for name in np.asarray(arrays["joint_names"]).reshape(-1)]
    if sorted(names) != sorted(PARENTS):
        raise ValueError(f"{path}: 'joint_names' is {', '.join(names)}; expected {', '.join(PARENTS)}")
    parents = array_of(arrays, "joint_parent_indices", path, (len(names),)).astype(int)
    for name, parent in zip(names, parents, strict=True):
        wanted = PARENTS[name]
        is_right = parent < 0 or names[parent] == name if wanted is None else 0 <= parent < 4 and names[parent] == wanted
        if not is_right:
            raise ValueError(f"{path}: 'joint_parent_indices' hangs {name} elsewhere than on {wanted or 'nothing'}")
    return [names.index(theirs) for theirs in JOINTS.values()]


def _uvs(arrays: Arrays, faces: NDArray[np.int64], path: Path) -> tuple[Tensor | None, Tensor | None]:
    """UVs of every triangle's corners, or those of the quads that the triangles are halves of."""
    corners = np.arange(3 * len(faces)).reshape(-1, 3)
    if "triangle_uvs" in arrays:
        return float_tensor(array_of(arrays, "triangle_uvs", path, (len(faces), 3, 2)).reshape(-1, 2)), torch.as_tensor(corners)
    if "quad_uvs" not in arrays or "quads" not in arrays:
        return None, None
    quads = array_of(arrays, "quads", path, (None, 4)).astype(np.int64)
    places = array_of(arrays, "quad_uvs", path, (len(quads), 4, 2))
    quad_of = {tuple(sorted(half)): n for n, quad in enumerate(quads.tolist()) for half in _halves(quad)}
    uvs = np.zeros((len(faces), 3, 2))
    for number, face in enumerate(faces.tolist()):
        quad = quad_of.get(tuple(sorted(face)))
        if quad is None:
            raise ValueError(f"{path}: 'quads' holds no quad that triangle {number} is half of")
        own = quads[quad].tolist()
        uvs[number] = [places[quad, own.index(vertex)] for vertex in face]
    return float_tensor(uvs.reshape(-1, 2)), torch.as_tensor(corners)


def _halves(quad: list[int]) -> list[list[int]]:
    """The four triangles that a quad can be cut into."""
    return [quad[:k] + quad[k + 1 :] for k in range(4)]


def _regions(arrays: Arrays, weights: Tensor, count: int, path: Path) -> dict[str, Tensor]:
    """Eyeballs by their joints; teeth, gums and tongue by their groups; the skin is the group of that name, or the rest."""
    regions = eyeball_regions(weights[:, 2], weights[:, 3])
    if "vertex_group_names" not in arrays:
        return regions
    names = [str(name).lower() for name in np.asarray(arrays["vertex_group_names"]).reshape(-1)]
    groups = float_tensor(array_of(arrays, "vertex_groups", path, (len(names), count), "f4")) > 0.5
    inside = torch.zeros(count, dtype=torch.bool)
    for name, group in zip(names, groups, strict=True):
        if any(part in name for part in INSIDE_GROUPS):
            inside |= group
    for part in ("teeth", "tongue"):
        own = [group for name, group in zip(names, groups, strict=True) if part in name]
        if own:
            regions[part] = torch.stack(own).any(0)
    skin = groups[names.index("skin")] if "skin" in names else torch.ones(count, dtype=torch.bool)
    eyeballs = regions.get("eyeballs", torch.zeros(count, dtype=torch.bool))
    regions["skin"] = skin & ~inside & ~eyeballs
    return regions
