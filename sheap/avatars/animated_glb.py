"""One person's moving head as a binary glTF 2.0 file: skinned joints, morph targets, a track of both.

The file poses the head as the head model does, exactly: morph targets are the expression's components, the lids' two motions and
their bulges and, where the model has them, its pose correctives; what moves joints with the expression goes into the joints'
own tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.files import write_bytes
from sheap.geometry.rotations import matrix_to_quat_wxyz, rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.skinning import joint_transforms
from sheap.render.mesh import vertex_normals

JOINTS_A_VERTEX = 4
"""glTF's limit for one set of weights."""
SKIN_COLOUR = [0.80, 0.62, 0.53, 1.0]


def write_animated_glb(path: Path, head: HeadModel, params: HeadParams, times_s: Sequence[float]) -> None:
    """Writes T frames of one person (leading dimension T, one shape) as `path`, metres and seconds.

    times_s: of the frames, rising; between them players interpolate. Raises NotWritten, and ValueError for no frame, shapes that
    differ, or times that are not as many and rising from 0 or later.
    """
    params = params.map(lambda tensor: tensor.detach().cpu().float())
    if params.batch_shape == () or params.batch_shape[0] == 0:
        raise ValueError("params: expected frames along one leading dimension, got none")
    if not torch.equal(params.shape, params.shape[:1].expand_as(params.shape)):
        raise ValueError("params: the frames' shapes differ; one file holds one person (SheapPredictor.predict_person)")
    times = np.asarray(times_s, np.float32)
    if times.shape != params.batch_shape or times[0] < 0 or not (np.diff(times) > 0).all():
        raise ValueError(f"times_s: expected {params.batch_shape[0]} rising times from 0 or later")
    rest = HeadParams.zeros(head, 1, device="cpu", dtype=torch.float32).replace(shape=params.shape[:1])
    file = _File()
    mesh = _mesh(file, head, head.neutral(rest.shape)[0])
    rest_joints = head.rest_joints(rest)[0]
    joints = list(range(1, 1 + len(head.joint_names)))
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(head.joint_names), 1, 1))
    # Column-major, as glTF has matrices.
    inverse[:, 3, :3] = -rest_joints.numpy()
    file.document.skins.append(gltf.Skin(joints=joints, skeleton=joints[0], inverseBindMatrices=file.accessor(inverse, "MAT4")))
    file.document.meshes.append(mesh)
    file.document.nodes = [gltf.Node(name="head", mesh=0, skin=0), *_joint_nodes(head, rest_joints)]
    file.document.scenes.append(gltf.Scene(nodes=[0, joints[0]]))
    file.document.animations.append(_animation(file, head, params, rest_joints, times))
    file.save(path)


def morph_weights(head: HeadModel, params: HeadParams) -> Tensor:
    """The weights [T, M] of the file's morph targets."""
    parts = [params.expression]
    if params.eyelids is not None:
        within = params.eyelids.clamp(0, 1)
        parts.append(params.eyelids)
        if head.eyelid_bulge_basis is not None:
            parts.append(4 * within * (1 - within))
    if head.pose_basis is not None:
        turned = rotvec_to_matrix(params.rotvecs())[:, len(head.joint_names) - len(_correcting_joints(head)) :] - torch.eye(3)
        parts.append(turned.flatten(1))
    return torch.cat(parts, 1)


def _morph_targets(head: HeadModel) -> tuple[Tensor, list[str]]:
    """Offsets [M, N, 3] and names."""
    bases = [head.expression_basis]
    names = [f"expression_{k:02d}" for k in range(head.num_expression)]
    if head.eyelid_basis is not None:
        bases.append(head.eyelid_basis)
        names += ["eyelid_left", "eyelid_right"]
    if head.eyelid_bulge_basis is not None:
        bases.append(head.eyelid_bulge_basis)
        names += ["eyelid_left_bulge", "eyelid_right_bulge"]
    if head.pose_basis is not None:
        bases.append(head.pose_basis)
        names += [f"pose_{joint}_{row}{column}" for joint in _correcting_joints(head) for row in range(3) for column in range(3)]
    return torch.cat(bases, -1).permute(2, 0, 1), names


def _correcting_joints(head: HeadModel) -> tuple[str, ...]:
    """The joints whose turns the pose correctives follow: the last ones."""
    assert head.pose_basis is not None, "asked for where there are correctives"
    return head.joint_names[len(head.joint_names) - head.pose_basis.shape[-1] // 9 :]


def _mesh(file: _File, head: HeadModel, neutral: Tensor) -> gltf.Mesh:
    """The neutral head with its morph targets; a vertex is doubled where its texture has a seam, if it has one."""
    seams = head.faces if head.uv_faces is None else head.uv_faces
    corners = np.stack([head.faces.numpy().ravel(), seams.numpy().ravel()], 1)
    pairs, indices = np.unique(corners, axis=0, return_inverse=True)
    vertices = torch.from_numpy(pairs[:, 0])
    normals = vertex_normals(neutral, head.faces)[vertices]
    texture = None
    if head.uv_coords is not None:
        uv = head.uv_coords[torch.from_numpy(pairs[:, 1])]
        texture = file.accessor(_float(torch.stack([uv[:, 0], 1 - uv[:, 1]], 1)), "VEC2", target=gltf.ARRAY_BUFFER)
    strongest = head.skinning_weights.topk(min(JOINTS_A_VERTEX, head.skinning_weights.shape[1]), dim=1)
    weights = strongest.values / strongest.values.sum(1, keepdim=True)
    targets, names = _morph_targets(head)
    primitive = gltf.Primitive(
        attributes=gltf.Attributes(
            POSITION=file.accessor(_float(neutral[vertices]), "VEC3", target=gltf.ARRAY_BUFFER, bounds=True),
            NORMAL=file.accessor(_float(_unit(normals)), "VEC3", target=gltf.ARRAY_BUFFER),
            TEXCOORD_0=texture,
            JOINTS_0=file.accessor(_unused_zero(strongest.indices, weights)[vertices].numpy(), "VEC4", target=gltf.ARRAY_BUFFER),
            WEIGHTS_0=file.accessor(_float(weights[vertices]), "VEC4", target=gltf.ARRAY_BUFFER),
        ),
        indices=file.accessor(indices.ravel().astype(np.uint32), "SCALAR", target=gltf.ELEMENT_ARRAY_BUFFER),
        material=0,
        targets=[
            gltf.Attributes(POSITION=file.accessor(_float(target[vertices]), "VEC3", target=gltf.ARRAY_BUFFER, bounds=True))
            for target in targets
        ],
    )
    file.document.materials.append(
        gltf.Material(
            name="skin",
            pbrMetallicRoughness=gltf.PbrMetallicRoughness(
                baseColorFactor=SKIN_COLOUR, metallicFactor=0.0, roughnessFactor=0.6
            ),
        )
    )
    return gltf.Mesh(name="head", primitives=[primitive], weights=[0.0] * len(names), extras={"targetNames": names})


def _joint_nodes(head: HeadModel, rest_joints: Tensor) -> list[gltf.Node]:
    nodes = []
    for joint, (name, parent) in enumerate(zip(head.joint_names, head.joint_parents, strict=True)):
        place = rest_joints[joint] - (rest_joints[parent] if parent >= 0 else 0)
        children = [1 + child for child, above in enumerate(head.joint_parents) if above == joint]
        nodes.append(gltf.Node(name=name, translation=place.tolist(), children=children))
    return nodes


def _animation(
    file: _File, head: HeadModel, params: HeadParams, rest_joints: Tensor, times_s: NDArray[np.float32]
) -> gltf.Animation:
    """Tracks of every joint's turn and place, and of the morph weights."""
    times = file.accessor(times_s, "SCALAR", bounds=True)
    rotations = rotvec_to_matrix(params.rotvecs())
    moved = head.rest_joints(params)
    turns, places = joint_transforms(rotations, moved, head.joint_parents)
    # The file's skin is bound at the neutral joints: where the expression moves a joint by d, the joint's place takes up what the
    # turn makes of d.
    places = places + (turns @ (rest_joints - moved)[..., None]).squeeze(-1) + params.translation[:, None]
    animation = gltf.Animation(name="head")

    def track(node: int, path: str, values: NDArray[np.float32], kind: str) -> None:
        animation.samplers.append(gltf.AnimationSampler(input=times, output=file.accessor(values, kind)))
        target = gltf.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    for joint, parent in enumerate(head.joint_parents):
        place = places[:, joint]
        if parent >= 0:
            place = (turns[:, parent].mT @ (place - places[:, parent])[..., None]).squeeze(-1)
        track(1 + joint, "translation", _float(place), "VEC3")
        quat_wxyz = matrix_to_quat_wxyz(rotations[:, joint])
        track(1 + joint, "rotation", _float(_unit(quat_wxyz[:, [1, 2, 3, 0]])), "VEC4")
    track(0, "weights", _float(morph_weights(head, params)).ravel(), "SCALAR")
    return animation


def _float(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.numpy().astype(np.float32))


def _unit(vectors: Tensor) -> Tensor:
    """Vectors [..., D] of length one to the last digit; a zero one points along the first axis."""
    first = torch.zeros_like(vectors)
    first[..., 0] = 1
    size = vectors.double().norm(dim=-1, keepdim=True)
    return torch.where(size > 1e-8, vectors / size.clamp_min(1e-8), first.double())


def _unused_zero(joints: Tensor, weights: Tensor) -> Tensor:
    """Joint numbers [N, 4] as bytes, 0 where the weight is 0, as glTF wants it; filled up where a head has fewer joints."""
    return torch.where(weights > 0, joints, 0).to(torch.uint8)


@dataclass
class _File:
    """A document and the bytes that its accessors point into."""

    document: gltf.GLTF2 = field(
        default_factory=lambda: gltf.GLTF2(asset=gltf.Asset(version="2.0", generator="sheap"), scene=0)
    )
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def accessor(self, values: NDArray, kind: str, *, target: int | None = None, bounds: bool = False) -> int:
        """Adds an array and gives its accessor's number; kind: SCALAR, VEC2, ... bounds: with its least and greatest values."""
        component = {"float32": gltf.FLOAT, "uint32": gltf.UNSIGNED_INT, "uint8": gltf.UNSIGNED_BYTE}[values.dtype.name]
        content = values.tobytes()
        view = gltf.BufferView(buffer=0, byteOffset=self.size, byteLength=len(content), target=target)
        self.document.bufferViews.append(view)
        count = values.size if kind == "SCALAR" else len(values)
        extent = {}
        if bounds:
            columns = values.reshape(count, -1)
            extent = {"min": columns.min(0).tolist(), "max": columns.max(0).tolist()}
        self.document.accessors.append(
            gltf.Accessor(
                bufferView=len(self.document.bufferViews) - 1, componentType=component, count=count, type=kind, **extent
            )
        )
        padding = -len(content) % 4
        self.parts.append(content + bytes(padding))
        self.size += len(content) + padding
        return len(self.document.accessors) - 1

    def save(self, path: Path) -> None:
        self.document.buffers.append(gltf.Buffer(byteLength=self.size))
        self.document.set_binary_blob(b"".join(self.parts))
        write_bytes(path, b"".join(self.document.save_to_bytes()))
