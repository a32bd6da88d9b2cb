"""A head model's data at rest, whatever file it came from, and our own file format (safetensors)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sheap.files import write_bytes
from sheap.head.params import JOINT_NAMES
from sheap.head.stored_shapes import require_shapes

FORMAT = "sheap-head-1"
OPEN_HEAD_PATH = Path(__file__).with_name("open_head.safetensors")
"""The open head model that ships with the package."""
TRAIT_NAMES = ("male", "age", "weight", "african", "asian", "european")
"""Traits that a head model may know directions for, standardised over the population. The ancestries are shares."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points bound to a mesh: face_ids [L] int64, barycentrics [L, 3], weights [L] in 0..1 (how far each can be
    trusted)."""

    face_ids: Tensor
    barycentrics: Tensor
    weights: Tensor

    @classmethod
    def at_vertices(cls, vertex_ids: Iterable[int], faces: Tensor) -> SurfacePoints:
        """Points that lie exactly on vertices: any face around each, with weight one at that corner."""
        face_ids, barycentrics = [], []
        for vertex in vertex_ids:
            face, corner = (faces == int(vertex)).nonzero()[0].tolist()
            face_ids.append(face)
            barycentrics.append(torch.eye(3)[corner])
        return cls(torch.tensor(face_ids), torch.stack(barycentrics), torch.ones(len(face_ids)))

    def of(self, vertices: Tensor, faces: Tensor) -> Tensor:
        """Their positions [..., L, 3] on a mesh with vertices [..., N, 3] and faces [F, 3]."""
        corners = vertices[..., faces[self.face_ids], :]
        return (corners * self.barycentrics[..., None].to(corners)).sum(dim=-2)


@dataclass(frozen=True)
class Attachments:
    """Loose points that move with the head; MakeHuman's lashes and long hair are bound to them.

    base_ids [M]: indices in MakeHuman's base mesh. template [M, 3], shape_basis [M, 3, S'] (the first S' of the head's
    components), expression_basis [M, 3, E], eyelid_basis and eyelid_bulge_basis [M, 3, 2], skinning_weights [M, 5].
    """

    base_ids: Tensor
    template: Tensor
    shape_basis: Tensor
    expression_basis: Tensor
    eyelid_basis: Tensor
    eyelid_bulge_basis: Tensor
    skinning_weights: Tensor


@dataclass(frozen=True)
class JointBasis:
    """Joints by basis: template [J, 3], shape [J, 3, S] and expression [J, 3, E], metres."""

    template: Tensor
    shape: Tensor
    expression: Tensor


@dataclass(frozen=True)
class HeadSource:
    """Where a head came from. kind: in words; licence: of the model, shown wherever the head is named; name and sha256: of the
    file or folder it was first read from, which a converted file keeps; made: what was missing there and was made since."""

    kind: str
    licence: str
    name: str
    sha256: str
    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadData:
    """Everything a head model is made of; floats are float32, indices int64, metres.

    template [N, 3]; faces [F, 3]; uv_coords [T, 2] in [0, 1] from the bottom left and uv_faces [F, 3], or None;
    shape_basis [N, 3, S]; expression_basis [N, 3, E]; eyelid_basis [N, 3, 2] or None (a lid's way from open to closed);
    eyelid_bulge_basis [N, 3, 2] or None (how far it swings out halfway). joint_names: the root and any of the others of
    sheap.head.params.JOINT_NAMES, in that order; where they lie at rest says either joint_regressor [J, N] or joint_basis.
    skinning_weights [N, J]; pose_basis [N, 3, 9 K] or None (corrections, linear in the entries of rotations minus the identity:
    of the joints after the root, as FLAME has them, or of all joints, as GNM has them). regions: vertex masks [N] by name.
    action_names and their action_matrix [A, E] and action_rotvecs [A, J, 3]: what each named facial action adds to the
    expression and turns at the joints (none: empty). base_vertex_ids [N]: indices in MakeHuman's base mesh;
    mirror_vertex_ids [N]: partners on the other side; gaze_axes [2, 3]: unit directions in which the left and the right eye
    look at rest; each None where unknown. trait_names and trait_directions [T, S]: what a person's standardised traits
    (sheap.people.demographics) add to the identity coefficients on average (none: empty). source: None for a head that was
    not read from a file.
    """

    template: Tensor
    faces: Tensor
    uv_coords: Tensor | None
    uv_faces: Tensor | None
    shape_basis: Tensor
    expression_basis: Tensor
    eyelid_basis: Tensor | None
    joint_regressor: Tensor | None
    skinning_weights: Tensor
    now_points: SurfacePoints | None
    joint_names: tuple[str, ...] = JOINT_NAMES
    joint_basis: JointBasis | None = None
    landmark_points: SurfacePoints | None = None
    eyelid_bulge_basis: Tensor | None = None
    pose_basis: Tensor | None = None
    regions: dict[str, Tensor] = field(default_factory=dict)
    action_names: tuple[str, ...] = ()
    action_matrix: Tensor | None = None
    action_rotvecs: Tensor | None = None
    base_vertex_ids: Tensor | None = None
    mirror_vertex_ids: Tensor | None = None
    gaze_axes: Tensor | None = None
    attachments: Attachments | None = None
    trait_names: tuple[str, ...] = ()
    trait_directions: Tensor | None = None
    figures: dict[str, object] = field(default_factory=dict)
    source: HeadSource | None = None


_HALF = ("shape_basis", "expression_basis", "eyelid_basis", "eyelid_bulge_basis")
_SINGLE = (
    "template", "uv_coords", "joint_regressor", "skinning_weights", "action_matrix", "action_rotvecs",
    "gaze_axes", "pose_basis", "trait_directions",
)  # fmt: skip
_INDEX = ("faces", "uv_faces", "base_vertex_ids", "mirror_vertex_ids")
_OPTIONAL = (
    "uv_coords", "uv_faces", "pose_basis", "eyelid_bulge_basis", "action_matrix", "action_rotvecs", "gaze_axes",
    "base_vertex_ids", "mirror_vertex_ids", "trait_directions", "eyelid_basis", "joint_regressor",
)  # fmt: skip
_ATTACHED = tuple(item.name for item in fields(Attachments))
_JOINTS = tuple(item.name for item in fields(JointBasis))
_POINTS = ("now_points", "landmark_points")


def write_head(data: HeadData, path: Path) -> None:
    """Writes our format: bases in float16 (half a micrometre), the rest in float32 and int32."""
    tensors: dict[str, Tensor] = {}
    for name in (*_HALF, *_SINGLE, *_INDEX):
        tensor = getattr(data, name)
        if tensor is not None:
            tensors[name] = _to_stored(name, tensor)
    if data.attachments is not None:
        for name in _ATTACHED:
            tensors[f"attachments.{name}"] = _to_stored(name, getattr(data.attachments, name))
    if data.joint_basis is not None:
        for name in _JOINTS:
            tensors[f"joint_basis.{name}"] = getattr(data.joint_basis, name).to(torch.float32).contiguous()
    for name in _POINTS:
        points = getattr(data, name)
        if points is not None:
            tensors[f"{name}.face_ids"] = points.face_ids.to(torch.int32)
            tensors[f"{name}.barycentrics"] = points.barycentrics.to(torch.float32).contiguous()
            tensors[f"{name}.weights"] = points.weights.to(torch.float32)
    masks = [mask.to(torch.uint8) for mask in data.regions.values()]
    tensors["regions"] = torch.stack(masks) if masks else torch.zeros(0, len(data.template), dtype=torch.uint8)
    metadata = {
        "format": FORMAT,
        "regions": json.dumps(list(data.regions)),
        "actions": json.dumps(list(data.action_names)),
        "traits": json.dumps(list(data.trait_names)),
        "figures": json.dumps(data.figures),
        "joints": json.dumps(list(data.joint_names)),
    }
    if data.source is not None:
        metadata["source"] = json.dumps(asdict(data.source))
    write_bytes(path, save(tensors, metadata))


def _to_stored(name: str, tensor: Tensor) -> Tensor:
    dtype = torch.float16 if name in _HALF else torch.float32 if tensor.is_floating_point() else torch.int32
    return tensor.to(dtype).contiguous()


def _from_stored(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def read_head(path: Path) -> HeadData:
    """Reads our format. Raises ValueError naming the file when it is not a head model of ours, OSError when
    unreadable."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not a head model of format '{FORMAT}'")
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    required = {*_HALF, *_SINGLE, *_INDEX, "regions"} - set(_OPTIONAL)
    if missing := sorted(required - set(stored)):
        raise ValueError(f"{path}: head model lacks {', '.join(missing)}")
    said = {name: _said(metadata, name, path) for name in ("regions", "actions", "traits", "joints", "figures")}
    require_shapes(stored, {name: len(said[name]) for name in ("regions", "actions", "traits", "joints")}, path)
    regions = stored.pop("regions").bool()
    stored = {name: _from_stored(tensor) for name, tensor in stored.items()}
    values: dict[str, Any] = {name: stored.get(name) for name in (*_HALF, *_SINGLE, *_INDEX)}
    for name in _POINTS:
        values[name] = None
        if any(key.startswith(f"{name}.") for key in stored):
            values[name] = SurfacePoints(**_group(stored, name, [item.name for item in fields(SurfacePoints)], path))
    if "attachments.base_ids" in stored:
        values["attachments"] = Attachments(**_group(stored, "attachments", _ATTACHED, path))
    if "joint_basis.template" in stored:
        values["joint_basis"] = JointBasis(**_group(stored, "joint_basis", _JOINTS, path))
    if said["actions"] and (values["action_matrix"] is None or values["action_rotvecs"] is None):
        raise ValueError(f"{path}: head model lacks action_matrix or action_rotvecs for the actions it names")
    if values["joint_regressor"] is None and "joint_basis" not in values:
        raise ValueError(f"{path}: head model lacks joint_regressor (or joint_basis)")
    return HeadData(
        **values,
        regions=dict(zip(said["regions"], regions, strict=True)),
        action_names=tuple(said["actions"]),
        trait_names=tuple(said["traits"]),
        figures=said["figures"],
        joint_names=tuple(said["joints"]),
        source=_source(metadata, path),
    )


_SAID: dict[str, Any] = {"regions": [], "actions": [], "traits": [], "joints": list(JOINT_NAMES), "figures": {}}
"""What the metadata of a file of ours say, and what holds for files of before that do not."""


def _said(metadata: Mapping[str, str], name: str, path: Path) -> Any:
    try:
        found = json.loads(metadata[name]) if name in metadata else _SAID[name]
    except ValueError as error:
        raise ValueError(f"{path}: its metadata '{name}' are not JSON ({error})") from None
    if not isinstance(found, type(_SAID[name])):
        raise ValueError(f"{path}: its metadata '{name}' are not a {type(_SAID[name]).__name__}")
    return found


def _source(metadata: Mapping[str, str], path: Path) -> HeadSource | None:
    if "source" not in metadata:
        return None
    try:
        found = json.loads(metadata["source"])
        return HeadSource(**found | {"made": tuple(found["made"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: its metadata 'source' do not say where it came from ({error})") from None


def _group(stored: Mapping[str, Tensor], name: str, parts: Iterable[str], path: Path) -> dict[str, Tensor]:
    """Tensors that belong together, by their own names."""
    if missing := [part for part in parts if f"{name}.{part}" not in stored]:
        raise ValueError(f"{path}: head model lacks {name}.{missing[0]}")
    return {part: stored[f"{name}.{part}"] for part in parts}


def stored_source(path: Path) -> HeadSource | None:
    """What a file of our format says of its source, without reading its tensors; None where it says nothing, or is no such
    file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return None
    return _source(metadata, path)


def made_tensors(data: HeadData) -> dict[str, Tensor]:
    """What was made since the head was first read (HeadSource.made), by name: small, and none of its publisher's data."""
    tensors: dict[str, Tensor] = {}
    for name in () if data.source is None else data.source.made:
        if name in _POINTS:
            points = getattr(data, name)
            tensors |= {f"{name}.{item.name}": getattr(points, item.name) for item in fields(SurfacePoints)}
        elif name == "uvs":
            assert data.uv_coords is not None and data.uv_faces is not None
            tensors |= {"uvs.coords": data.uv_coords, "uvs.faces": data.uv_faces}
        else:
            tensors[name] = data.regions[name.removeprefix("region ")]
    return tensors


def with_made(data: HeadData, tensors: Mapping[str, Tensor]) -> HeadData:
    """The same head with parts that were made of it before (`made_tensors`), in place of its own."""
    changes: dict[str, Any] = {}
    regions = dict(data.regions)
    for name in _POINTS:
        if f"{name}.face_ids" in tensors:
            changes[name] = SurfacePoints(**{item.name: tensors[f"{name}.{item.name}"] for item in fields(SurfacePoints)})
    if "uvs.coords" in tensors:
        changes |= {"uv_coords": tensors["uvs.coords"], "uv_faces": tensors["uvs.faces"]}
    regions |= {name.removeprefix("region "): mask for name, mask in tensors.items() if name.startswith("region ")}
    made = tuple(dict.fromkeys(name.split(".")[0] for name in tensors))
    source = None if data.source is None else replace(data.source, made=made)
    return replace(data, regions=regions, source=source, **changes)
