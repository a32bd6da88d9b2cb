"""Whether the tensors of a head model file of ours belong together: sizes that recur must agree, indices must exist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

Size = int | str | None

SHAPES: dict[str, tuple[Size, ...]] = {
    "template": ("vertices", 3),
    "faces": ("faces", 3),
    "uv_coords": ("texture places", 2),
    "uv_faces": ("faces", 3),
    "shape_basis": ("vertices", 3, "identities"),
    "expression_basis": ("vertices", 3, "expressions"),
    "eyelid_basis": ("vertices", 3, 2),
    "eyelid_bulge_basis": ("vertices", 3, 2),
    "joint_regressor": ("joints", "vertices"),
    "joint_basis.template": ("joints", 3),
    "joint_basis.shape": ("joints", 3, "identities"),
    "joint_basis.expression": ("joints", 3, "expressions"),
    "skinning_weights": ("vertices", "joints"),
    "pose_basis": ("vertices", 3, None),
    "action_matrix": ("actions", "expressions"),
    "action_rotvecs": ("actions", "joints", 3),
    "base_vertex_ids": ("vertices",),
    "mirror_vertex_ids": ("vertices",),
    "gaze_axes": (2, 3),
    "trait_directions": ("traits", "identities"),
    "regions": ("regions", "vertices"),
    "attachments.base_ids": ("attachments",),
    "attachments.template": ("attachments", 3),
    "attachments.shape_basis": ("attachments", 3, None),
    "attachments.expression_basis": ("attachments", 3, "expressions"),
    "attachments.eyelid_basis": ("attachments", 3, 2),
    "attachments.eyelid_bulge_basis": ("attachments", 3, 2),
    "attachments.skinning_weights": ("attachments", "joints"),
}
"""A name stands for one size in the whole file, None for any."""
for _points in ("now_points", "landmark_points"):
    SHAPES |= {
        f"{_points}.face_ids": (_points,), f"{_points}.barycentrics": (_points, 3), f"{_points}.weights": (_points,),
    }  # fmt: skip

LIMITS = {
    "faces": "vertices", "uv_faces": "texture places", "mirror_vertex_ids": "vertices",
    "now_points.face_ids": "faces", "landmark_points.face_ids": "faces",
}  # fmt: skip
"""Of what a tensor holds the numbers."""


def require_shapes(tensors: Mapping[str, Tensor], sizes: dict[str, int], path: Path) -> None:
    """sizes: those that the file's metadata say (joints, regions, actions, traits).

    Raises ValueError naming file and tensor where one has another shape than the rest, or an index that is not there.
    """
    known: dict[str, tuple[int, str]] = {name: (size, "its metadata") for name, size in sizes.items()}
    for name, wanted in SHAPES.items():
        if name not in tensors:
            continue
        shape = list(tensors[name].shape)
        fits = len(shape) == len(wanted)
        for want, size in zip(wanted, shape, strict=False):
            if isinstance(want, str):
                expected, where = known.setdefault(want, (size, name))
                if size != expected:
                    raise ValueError(f"{path}: '{name}' has shape {shape}, but {where} has {expected} {want}")
            fits = fits and (not isinstance(want, int) or size == want)
        if not fits:
            shown = ", ".join("any" if want is None else str(want) for want in wanted)
            raise ValueError(f"{path}: '{name}' has shape {shape}, expected [{shown}]")
    for name, what in LIMITS.items():
        indices, (limit, _) = tensors.get(name), known.get(what, (0, ""))
        if indices is not None and indices.numel() and not (int(indices.min()) >= 0 and int(indices.max()) < limit):
            raise ValueError(f"{path}: '{name}' names {what} that are not there (there are {limit})")
