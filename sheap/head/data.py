"""A head model's data at rest, whatever file it came from, and our own file format (safetensors)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "sheap-head-1"
OPEN_HEAD_PATH = Path(__file__).with_name("open_head.safetensors")
"""The open head model that ships with the package."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points bound to a mesh: face_ids [L] int64, barycentrics [L, 3], weights [L] in 0..1 (how far each can be trusted)."""

    face_ids: Tensor
    barycentrics: Tensor
    weights: Tensor

    def of(self, vertices: Tensor, faces: Tensor) -> Tensor:
        """Their positions [..., L, 3] on a mesh with vertices [..., N, 3] and faces [F, 3]."""
        corners = vertices[..., faces[self.face_ids], :]
        return (corners * self.barycentrics[..., None].to(corners)).sum(dim=-2)


@dataclass(frozen=True)
class HeadData:
    """Everything a head model is made of; floats are float32, indices int64, metres.

    template [N, 3]; faces [F, 3]; uv_coords [T, 2] in [0, 1] from the bottom left; uv_faces [F, 3]; shape_basis [N, 3, S];
    expression_basis [N, 3, E]; eyelid_basis [N, 3, 2]; joint_regressor [5, N]; skinning_weights [N, 5]; pose_basis
    [N, 3, 36] or None (FLAME's corrections, linear in the entries of the rotations after the root's, minus the identity).
    regions: vertex masks [N] by name. action_names and their action_matrix [A, E] and action_rotvecs [A, 5, 3]: what each
    named facial action adds to the expression and turns at the joints (none: empty). base_vertex_ids [N]: indices in
    MakeHuman's base mesh; mirror_vertex_ids [N]: partners on the other side; gaze_axes [2, 3]: unit directions in which
    the left and the right eye look at rest; each None where unknown.
    """

    template: Tensor
    faces: Tensor
    uv_coords: Tensor
    uv_faces: Tensor
    shape_basis: Tensor
    expression_basis: Tensor
    eyelid_basis: Tensor
    joint_regressor: Tensor
    skinning_weights: Tensor
    now_points: SurfacePoints
    landmark_points: SurfacePoints | None = None
    pose_basis: Tensor | None = None
    regions: dict[str, Tensor] = field(default_factory=dict)
    action_names: tuple[str, ...] = ()
    action_matrix: Tensor | None = None
    action_rotvecs: Tensor | None = None
    base_vertex_ids: Tensor | None = None
    mirror_vertex_ids: Tensor | None = None
    gaze_axes: Tensor | None = None
    figures: dict[str, object] = field(default_factory=dict)


_HALF = ("shape_basis", "expression_basis", "eyelid_basis")
_SINGLE = (
    "template", "uv_coords", "joint_regressor", "skinning_weights", "action_matrix", "action_rotvecs",
    "gaze_axes",
)
_INDEX = ("faces", "uv_faces", "base_vertex_ids", "mirror_vertex_ids")
_OPTIONAL = ("action_matrix", "action_rotvecs", "gaze_axes", "base_vertex_ids", "mirror_vertex_ids")
_POINTS = ("now_points", "landmark_points")


def write_head(data: HeadData, path: Path) -> None:
    """Writes our format: bases in float16 (half a micrometre), the rest in float32 and int32."""
    tensors: dict[str, Tensor] = {}
    for name in (*_HALF, *_SINGLE, *_INDEX):
        tensor = getattr(data, name)
        if tensor is not None:
            dtype = torch.float16 if name in _HALF else torch.float32 if name in _SINGLE else torch.int32
            tensors[name] = tensor.to(dtype).contiguous()
    for name in _POINTS:
        points = getattr(data, name)
        if points is not None:
            tensors[f"{name}.face_ids"] = points.face_ids.to(torch.int32)
            tensors[f"{name}.barycentrics"] = points.barycentrics.to(torch.float32).contiguous()
            tensors[f"{name}.weights"] = points.weights.to(torch.float32)
    tensors["regions"] = torch.stack([mask.to(torch.uint8) for mask in data.regions.values()])
    metadata = {
        "format": FORMAT,
        "regions": json.dumps(list(data.regions)),
        "actions": json.dumps(list(data.action_names)),
        "figures": json.dumps(data.figures),
    }
    save_file(tensors, path, metadata=metadata)


def read_head(path: Path) -> HeadData:
    """Reads our format. Raises ValueError naming the file when it is not a head model of ours, OSError when unreadable."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not a head model of format '{FORMAT}'")
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    required = {*_HALF, *_SINGLE, *_INDEX, "regions", "now_points.face_ids"} - set(_OPTIONAL)
    if missing := sorted(required - set(stored)):
        raise ValueError(f"{path}: head model lacks {', '.join(missing)}")
    fields: dict[str, Tensor | SurfacePoints] = {}
    for name in (*_HALF, *_SINGLE, *_INDEX):
        if name in stored:
            fields[name] = stored[name].to(torch.int64 if name in _INDEX else torch.float32)
    for name in _POINTS:
        if f"{name}.face_ids" in stored:
            fields[name] = SurfacePoints(
                stored[f"{name}.face_ids"].to(torch.int64), stored[f"{name}.barycentrics"], stored[f"{name}.weights"]
            )
    return HeadData(
        **fields,
        regions=dict(zip(json.loads(metadata["regions"]), stored["regions"].bool(), strict=True)),
        action_names=tuple(json.loads(metadata["actions"])),
        figures=json.loads(metadata["figures"]),
    )
