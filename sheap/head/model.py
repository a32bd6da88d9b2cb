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
from sheap.head.data import OPEN_HEAD_PATH, Attachments, HeadData, HeadSource, JointBasis, SurfacePoints
from sheap.head.params import JOINT_NAMES, HeadMesh, HeadParams, joint_parents
from sheap.head.skinning import linear_blend_skinning

IRIS_RADIUS = 0.0059
"""Metres; human irises hardly differ (11.7 mm across)."""

EYES_FROM_ORIGIN = 0.06
"""Metres."""
IRIS_LANDMARKS = (468, 473)
"""Of MediaPipe's: the middle of the right and of the left iris."""

JOINT_PARENTS = joint_parents(JOINT_NAMES)
"""Of a head that has all five joints."""


class HeadModel(nn.Module):
    """Identity, expression, eyelids and up to five joints over one mesh. Holds buffers only, nothing is trained.

    A forward pass in batches of 16 takes 0.8 ms a head on one CPU thread with all 300 components, 1.7 ms with
    gradients.

    Buffers: template [N, 3], faces [F, 3], uv_coords [T, 2], uv_faces [F, 3], shape_basis [N, 3, S],
    expression_basis [N, 3, E], eyelid_basis [N, 3, 2], joint_regressor [J, N], skinning_weights [N, J],
    landmark_faces [478], landmark_barycentrics [478, 3], landmark_weights [478], now_faces [7], now_barycentrics [7,
    3]; where the file has them (else None) base_vertex_ids [N], mirror_vertex_ids [N], action_matrix [A, E],
    action_rotvecs [A, J, 3], pose_basis [N, 3, 9 K], eyelid_bulge_basis [N, 3, 2], attachment_base_ids [M] and the
    attachments' other tensors, gaze_axes [2, 3] (where the left and the right eye look at rest, unit),
    trait_directions [T, S] (what the traits `trait_names` add to the shape on average; see sheap.people.population). Also None
    where a head lacks them: uv_coords, uv_faces, eyelid_basis, joint_regressor. data: everything the model was made from.
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
    base_vertex_ids: Tensor | None
    mirror_vertex_ids: Tensor | None
    action_matrix: Tensor | None
    action_rotvecs: Tensor | None
    pose_basis: Tensor | None
    eyelid_bulge_basis: Tensor | None
    gaze_axes: Tensor | None
    trait_directions: Tensor | None
    source: HeadSource | None
    data: HeadData
    # Each group below is None as a whole where the file lacks it; its first buffer is asked.
    landmark_faces: Tensor
    landmark_barycentrics: Tensor
    landmark_weights: Tensor
    now_faces: Tensor
    now_barycentrics: Tensor
    now_weights: Tensor
    attachment_template: Tensor
    attachment_base_ids: Tensor
    attachment_shape_basis: Tensor
    attachment_expression_basis: Tensor
    attachment_eyelid_basis: Tensor
    attachment_eyelid_bulge_basis: Tensor
    attachment_skinning_weights: Tensor
    _joint_template: Tensor
    _joint_shape: Tensor
    _joint_expression: Tensor
    _region_table: Tensor

    def __init__(self, data: HeadData) -> None:
        super().__init__()
        self.joint_names = data.joint_names
        self.joint_parents = joint_parents(data.joint_names)
        self.source = data.source
        self.data = data
        for name in (
            "template", "faces", "uv_coords", "uv_faces", "shape_basis", "expression_basis", "eyelid_basis",
            "eyelid_bulge_basis", "pose_basis", "joint_regressor", "skinning_weights", "action_matrix",
            "action_rotvecs", "base_vertex_ids", "mirror_vertex_ids", "gaze_axes", "trait_directions",
        ):  # fmt: skip
            self.register_buffer(name, getattr(data, name), persistent=False)
        # Regressing the bases once saves regressing every head.
        joints = data.joint_basis or _regressed(data)
        for item in dataclasses.fields(JointBasis):
            self.register_buffer(f"_joint_{item.name}", getattr(joints, item.name), persistent=False)
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
        """The shipped open head, or what a user has: FLAME, GNM Head, ICT Face Model Light, a file or folder as its publisher or
        other projects leave it, or a file of ours (sheap.head.door).

        Raises ValueError naming file and array when it is no head model, OSError when it cannot be read.
        """
        from sheap.head.door import read_head_model

        return cls(read_head_model(OPEN_HEAD_PATH if path is None else Path(path)))

    @property
    def joint_basis(self) -> JointBasis:
        """Where the joints lie at rest, whichever way the file says it."""
        return JointBasis(self._joint_template, self._joint_shape, self._joint_expression)

    @property
    def num_eyelids(self) -> int:
        """2, or 0 for a head without eyelids."""
        return 0 if self.eyelid_basis is None else 2

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
    def face_origin(self) -> Tensor:
        """The open head's origin on this one [3], to a tenth of a millimetre: 6 cm behind the middle of the eyes.

        The eyes are the eyeballs, else MediaPipe's irises, else 3.5 cm above and 6 cm behind the foremost point, a nose's tip.
        """
        masks = self.region_masks
        if "eyeball_left" in masks and "eyeball_right" in masks:
            eyes = (self.template[masks["eyeball_left"]].mean(0) + self.template[masks["eyeball_right"]].mean(0)) / 2
        elif self.landmark_faces is not None and self.landmark_weights[list(IRIS_LANDMARKS)].min() > 0:
            eyes = self.landmarks(self.template)[list(IRIS_LANDMARKS)].mean(0) - self.template.new_tensor([0.0, 0.0, 0.012])
        else:
            tip = self.template[self.template[:, 2].argmax()]
            eyes = torch.stack([torch.zeros_like(tip[0]), tip[1] + 0.035, tip[2] - 0.06])
        return torch.round(eyes - eyes.new_tensor([0.0, 0.0, EYES_FROM_ORIGIN]), decimals=4)

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
        Raises ValueError when shape, expression or eyelids have the wrong number of coefficients, or joints are not the head's.
        """
        for name, size in (("shape", self.num_shape), ("expression", self.num_expression), ("eyelids", self.num_eyelids)):
            value = getattr(params, name)
            if (0 if value is None else value.shape[-1]) != size:
                raise ValueError(f"{name}: expected {size} coefficients, got {0 if value is None else value.shape[-1]}")
        for name in JOINT_NAMES:
            if (getattr(params, f"{name}_rotvec") is None) == (name in self.joint_names):
                what = "missing" if name in self.joint_names else "given, but this head has no such joint"
                raise ValueError(f"{name}_rotvec: {what}")
        rest = (
            self.template
            + _combine(self.shape_basis, params.shape)
            + _combine(self.expression_basis, params.expression)
        )
        if self.eyelid_basis is not None and params.eyelids is not None:
            rest = rest + _lid_offsets(self.eyelid_basis, self.eyelid_bulge_basis, params.eyelids)
        rotations = rotvec_to_matrix(params.rotvecs())
        if self.pose_basis is not None:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            correcting = rotations[..., len(self.joint_names) - self.pose_basis.shape[-1] // 9 :, :, :]
            rest = rest + _combine(self.pose_basis, (correcting - identity).flatten(-3))
        joints = self.rest_joints(params)
        vertices, joints = linear_blend_skinning(rest, joints, rotations, self.skinning_weights, self.joint_parents)
        translation = params.translation[..., None, :]
        return HeadMesh(vertices + translation, joints + translation)

    def attachments(self, params: HeadParams) -> Tensor:
        """The loose base-mesh points (see the module's text) of posed heads: [..., M, 3], metres, world.

        Raises ValueError when the model's file has none.
        """
        if self.attachment_template is None:
            raise ValueError("this head model has no attachment points; only the open head has")
        assert params.eyelids is not None, "only the open head has attachments, and it has eyelids"
        num_shape = self.attachment_shape_basis.shape[-1]
        rest = (
            self.attachment_template
            + _combine(self.attachment_shape_basis, params.shape[..., :num_shape])
            + _combine(self.attachment_expression_basis, params.expression)
            + _lid_offsets(self.attachment_eyelid_basis, self.attachment_eyelid_bulge_basis, params.eyelids)
        )
        rotations = rotvec_to_matrix(params.rotvecs())
        joints = self.rest_joints(params)
        points, _ = linear_blend_skinning(rest, joints, rotations, self.attachment_skinning_weights, self.joint_parents)
        return points + params.translation[..., None, :]

    def rest_joints(self, params: HeadParams) -> Tensor:
        """Joints [..., J, 3] before anything turns; they follow identity and expression."""
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
            raise ValueError("this head model has no MediaPipe landmark embedding; 'sheap head convert' finds them")
        return SurfacePoints(self.landmark_faces, self.landmark_barycentrics, self.landmark_weights).of(
            vertices, self.faces
        )

    def now_landmarks(self, vertices: Tensor) -> Tensor:
        """NoW's 7 landmarks [..., 7, 3]: right eye outer, inner, left eye inner, outer, nose bottom, mouth right, left.

        Raises ValueError when the model's file does not say where they are.
        """
        if self.now_faces is None:
            raise ValueError("this head model has no NoW landmarks; 'sheap head convert' finds them")
        return SurfacePoints(self.now_faces, self.now_barycentrics, self.now_weights).of(vertices, self.faces)


def _regressed(data: HeadData) -> JointBasis:
    """Joints of the template and of the bases. Raises ValueError for data that say nothing of joints."""
    if data.joint_regressor is None:
        raise ValueError("head model: has neither a joint regressor nor a joint basis")
    regressor, dtype = data.joint_regressor.double(), data.template.dtype
    bases = (data.template, data.shape_basis, data.expression_basis)
    return JointBasis(*(torch.tensordot(regressor, basis.double(), dims=1).to(dtype) for basis in bases))


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
