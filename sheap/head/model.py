"""The head model: coefficients and pose in, a mesh in metres out.

Axes: x to the person's left, y up, z out of the face; the origin lies 6 cm behind the midpoint of the mean head's eyes.

For dressing the open head with MakeHuman assets (hm08):
- `uv_coords`/`uv_faces` are MakeHuman's own, so its skin textures fit unchanged (v = 0 is the bottom row).
- `base_vertex_ids` [N] gives each vertex's index in MakeHuman's `base.obj`; `.mhclo` hair, brows and lashes bind to
  those.
- `region_masks["eyeball_left" / "eyeball_right"]` are whole eyeballs (72 vertices each), `["brows"]` the skin under the
  brows, `["scalp"]` where hair grows. `gaze_axes` says where the eyes look at rest: paint irises around those, at rest.
- Lashes and long hair are bound to base-mesh points beside the head's surface: `attachments(params)` poses those,
  `attachment_base_ids` [M] are their indices in `base.obj`. The mesh itself has no lashes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

import sheap.forks  # noqa: F401
from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head.data import OPEN_HEAD_PATH, Attachments, HeadData, SurfacePoints, read_head
from sheap.head.params import HeadMesh, HeadParams
from sheap.head.skinning import linear_blend_skinning

IRIS_RADIUS = 0.0059
"""Metres; human irises hardly differ (11.7 mm across)."""

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
JOINT_PARENTS = (-1, 0, 1, 1, 1)


class HeadModel(nn.Module):
    """Identity, expression, eyelids and five joints over one mesh. Holds buffers only, nothing is trained.

    A forward pass in batches of 16 takes 0.8 ms a head on one CPU thread with all 300 components, 1.7 ms with
    gradients.

    Buffers: template [N, 3], faces [F, 3], uv_coords [T, 2], uv_faces [F, 3], shape_basis [N, 3, S],
    expression_basis [N, 3, E], eyelid_basis [N, 3, 2], joint_regressor [5, N], skinning_weights [N, 5],
    landmark_faces [478], landmark_barycentrics [478, 3], landmark_weights [478], now_faces [7], now_barycentrics [7,
    3]; where the file has them (else None) base_vertex_ids [N], mirror_vertex_ids [N], action_matrix [A, E],
    action_rotvecs [A, 5, 3], pose_basis [N, 3, 36], eyelid_bulge_basis [N, 3, 2], attachment_base_ids [M] and the
    attachments' other tensors, gaze_axes [2, 3] (where the left and the right eye look at rest, unit),
    trait_directions [T, S] (what the traits `trait_names` add to the shape on average; see sheap.people.population).
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
    base_vertex_ids: Tensor | None
    mirror_vertex_ids: Tensor | None
    action_matrix: Tensor | None
    action_rotvecs: Tensor | None
    pose_basis: Tensor | None
    eyelid_bulge_basis: Tensor | None
    gaze_axes: Tensor | None
    trait_directions: Tensor | None
    # Each group below is None as a whole where the file lacks it; its first buffer is asked.
    landmark_faces: Tensor
    landmark_barycentrics: Tensor
    landmark_weights: Tensor
    now_faces: Tensor
    now_barycentrics: Tensor
    now_weights: Tensor
    attachment_template: Tensor
    attachment_shape_basis: Tensor
    attachment_expression_basis: Tensor
    attachment_eyelid_basis: Tensor
    attachment_eyelid_bulge_basis: Tensor
    attachment_skinning_weights: Tensor
    _joint_template: Tensor
    _joint_shape: Tensor
    _joint_expression: Tensor
    _region_table: Tensor

    joint_names = JOINT_NAMES

    def __init__(self, data: HeadData) -> None:
        super().__init__()
        for name in (
            "template", "faces", "uv_coords", "uv_faces", "shape_basis", "expression_basis", "eyelid_basis",
            "eyelid_bulge_basis", "pose_basis", "joint_regressor", "skinning_weights", "action_matrix",
            "action_rotvecs", "base_vertex_ids", "mirror_vertex_ids", "gaze_axes", "trait_directions",
        ):  # fmt: skip
            self.register_buffer(name, getattr(data, name), persistent=False)
        # Regressing the bases once saves regressing every head.
        regressor = data.joint_regressor.double()
        for name, basis in (
            ("template", data.template),
            ("shape", data.shape_basis),
            ("expression", data.expression_basis),
        ):
            joints = torch.tensordot(regressor, basis.double(), dims=1).to(data.template.dtype)
            self.register_buffer(f"_joint_{name}", joints, persistent=False)
        for item in dataclasses.fields(Attachments):
            value = None if data.attachments is None else getattr(data.attachments, item.name)
            self.register_buffer(f"attachment_{item.name}", value, persistent=False)
        self._register_points("landmark", data.landmark_points)
        self._register_points("now", data.now_points)
        self.region_names = tuple(data.regions)
        masks = (
            torch.stack(list(data.regions.values()))
            if data.regions
            else torch.zeros(0, len(data.template), dtype=torch.bool)
        )
        self.register_buffer("_region_table", masks, persistent=False)
        self.action_names = data.action_names
        self.trait_names = data.trait_names
        self.figures = data.figures

    def _register_points(self, prefix: str, points: SurfacePoints | None) -> None:
        self.register_buffer(f"{prefix}_faces", None if points is None else points.face_ids, persistent=False)
        self.register_buffer(
            f"{prefix}_barycentrics", None if points is None else points.barycentrics, persistent=False
        )
        self.register_buffer(f"{prefix}_weights", None if points is None else points.weights, persistent=False)

    @classmethod
    def load(cls, path: Path | None = None) -> HeadModel:
        """The shipped open head, or a user's file: .safetensors of ours, or FLAME's .pkl/.npz (see sheap.head.flame).

        Raises ValueError naming the file when it is no head model, OSError when it cannot be read.
        """
        path = OPEN_HEAD_PATH if path is None else Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: head model file not found")
        if path.suffix == ".safetensors":
            return cls(read_head(path))
        if path.suffix in (".pkl", ".npz"):
            from sheap.head.flame import read_flame

            return cls(read_flame(path))
        raise ValueError(f"{path}: unknown kind of head model; expected .safetensors (ours) or FLAME's .pkl or .npz")

    @property
    def num_vertices(self) -> int:
        return self.template.shape[0]

    @property
    def num_faces(self) -> int:
        return self.faces.shape[0]

    @property
    def num_shape(self) -> int:
        return self.shape_basis.shape[-1]

    @property
    def num_expression(self) -> int:
        return self.expression_basis.shape[-1]

    @property
    def region_masks(self) -> dict[str, Tensor]:
        """Vertex masks [N] by name: face, skin, lips, eyes, eyelids, eyeball_left, ears, scalp, neck, nose, teeth,
        ..."""
        return dict(zip(self.region_names, self._region_table, strict=True))

    def region_faces(self, name: str) -> Tensor:
        """Mask [F] of the faces whose three corners all lie in a region. Raises ValueError for an unknown name."""
        if name not in self.region_names:
            raise ValueError(f"region '{name}' is unknown; this head has: {', '.join(self.region_names) or 'none'}")
        return self.region_masks[name][self.faces].all(dim=-1)

    def forward(self, params: HeadParams) -> HeadMesh:
        """Poses heads: identity, expression and eyelids offset the template, joints turn it, translation moves it.

        Joints follow identity and expression; eyelids are applied at rest, so they turn with the head.
        Raises ValueError when shape, expression or eyelids have the wrong number of coefficients.
        """
        for name, size in (("shape", self.num_shape), ("expression", self.num_expression), ("eyelids", 2)):
            if getattr(params, name).shape[-1] != size:
                raise ValueError(f"{name}: expected {size} coefficients, got {getattr(params, name).shape[-1]}")
        rest = (
            self.template
            + _combine(self.shape_basis, params.shape)
            + _combine(self.expression_basis, params.expression)
            + _lid_offsets(self.eyelid_basis, self.eyelid_bulge_basis, params.eyelids)
        )
        rotations = rotvec_to_matrix(params.rotvecs())
        if self.pose_basis is not None:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            rest = rest + _combine(self.pose_basis, (rotations[..., 1:, :, :] - identity).flatten(-3))
        joints = self.rest_joints(params)
        vertices, joints = linear_blend_skinning(rest, joints, rotations, self.skinning_weights, JOINT_PARENTS)
        translation = params.translation[..., None, :]
        return HeadMesh(vertices + translation, joints + translation)

    def attachments(self, params: HeadParams) -> Tensor:
        """The loose base-mesh points (see the module's text) of posed heads: [..., M, 3], metres, world.

        Raises ValueError when the model's file has none.
        """
        if self.attachment_template is None:
            raise ValueError("this head model has no attachment points; only the open head has")
        num_shape = self.attachment_shape_basis.shape[-1]
        rest = (
            self.attachment_template
            + _combine(self.attachment_shape_basis, params.shape[..., :num_shape])
            + _combine(self.attachment_expression_basis, params.expression)
            + _lid_offsets(self.attachment_eyelid_basis, self.attachment_eyelid_bulge_basis, params.eyelids)
        )
        rotations = rotvec_to_matrix(params.rotvecs())
        joints = self.rest_joints(params)
        points, _ = linear_blend_skinning(rest, joints, rotations, self.attachment_skinning_weights, JOINT_PARENTS)
        return points + params.translation[..., None, :]

    def rest_joints(self, params: HeadParams) -> Tensor:
        """Joints [..., 5, 3] before anything turns; they follow identity and expression."""
        return (
            self._joint_template
            + _combine(self._joint_shape, params.shape)
            + _combine(self._joint_expression, params.expression)
        )

    def neutral(self, shape: Tensor) -> Tensor:
        """Identities at rest with a neutral face: shape [..., S] to vertices [..., N, 3]."""
        if shape.shape[-1] != self.num_shape:
            raise ValueError(f"shape: expected {self.num_shape} coefficients, got {shape.shape[-1]}")
        return self.template + _combine(self.shape_basis, shape)

    def landmarks(self, vertices: Tensor) -> Tensor:
        """MediaPipe's 478 landmarks [..., 478, 3] on posed vertices [..., N, 3]; landmark_weights says how far to
        trust each.

        Raises ValueError when the model's file has no such embedding.
        """
        if self.landmark_faces is None:
            raise ValueError("this head model has no MediaPipe landmark embedding; read it with an embedding file")
        return SurfacePoints(self.landmark_faces, self.landmark_barycentrics, self.landmark_weights).of(
            vertices, self.faces
        )

    def now_landmarks(self, vertices: Tensor) -> Tensor:
        """NoW's 7 landmarks [..., 7, 3]: right eye outer, inner, left eye inner, outer, nose bottom, mouth right, left.

        Raises ValueError when the model's file does not say where they are.
        """
        if self.now_faces is None:
            raise ValueError("this head model has no NoW landmarks; read it with its static landmark embedding")
        return SurfacePoints(self.now_faces, self.now_barycentrics, self.now_weights).of(vertices, self.faces)


def _lid_offsets(basis: Tensor, bulge_basis: Tensor | None, eyelids: Tensor) -> Tensor:
    """Offsets [..., N, 3] of lids that are closed by eyelids [..., 2], swinging out halfway to clear the eyeball."""
    offsets = _combine(basis, eyelids)
    if bulge_basis is None:
        return offsets
    within = eyelids.clamp(0, 1)
    return offsets + _combine(bulge_basis, 4 * within * (1 - within))


def _combine(basis: Tensor, coefficients: Tensor) -> Tensor:
    """Offsets [..., N, 3] from a basis [N, 3, C] and coefficients [..., C]."""
    flat = coefficients @ basis.flatten(0, 1).T
    return flat.unflatten(-1, basis.shape[:2])
