"""Parameters of one head model from another's, by least squares over corresponding points: identity, expression, then pose.

What the second model should look like is known point by point: where the first one's surface carries the places that
correspond. Identity is linear, so it is solved once, as a matrix. An expression is a displacement of the person's own neutral
face; jaw and lids of the second model, if it has any, are solved for together with its expression. The head's pose is the
rigid motion that lays the one on the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.regions import is_near_face
from sheap.render.mesh import vertex_normals
from sheap.transfer.registration import Correspondence

Array = NDArray[np.float64]

SURE = 0.5
"""Points that correspond less surely are left out."""
ELSEWHERE = 0.3
"""What a point off the face counts beside one on it."""
ALONG_SKIN = 0.1
"""What a distance along the skin counts beside one across it: nearest points say little about it."""
MOST_POINTS = 4000
NUDGE = 1e-3
"""Radians by which a jaw is turned to see what turning does."""


@dataclass(frozen=True)
class TransferSettings:
    """Ridges of a squared coefficient, in square metres summed over points: they keep it plausible where points say nothing."""

    shape_ridge: float = 3e-6
    expression_ridge: float = 1e-6
    jaw_steps: int = 4


class HeadTransfer:
    """From head `a`'s parameters to head `b`'s. Raises ValueError for too few sure points.

    Gaze goes over where both have eye joints; a head that looks by expression moves its eyeballs by that. What `b` has not (a
    jaw, eyelids) its expression does, as far as it can.
    """

    def __init__(
        self, a: HeadModel, b: HeadModel, found: Correspondence, settings: TransferSettings = TransferSettings()
    ) -> None:
        self.a, self.b, self.settings, self.residual_mm = a, b, settings, found.residual_mm
        chosen = np.flatnonzero(found.sure > SURE)
        if len(chosen) < 100:
            raise ValueError(f"heads: only {len(chosen)} points of their skins lie on each other; are both heads in metres?")
        face = is_near_face(b.template, b.now_landmarks(b.template)).numpy()[found.vertex_ids[chosen]]
        if len(chosen) > MOST_POINTS:
            # All of the face if it fits, then an even share of the rest.
            order = np.argsort(~face, kind="stable")
            step = np.linspace(0, len(chosen) - 1, MOST_POINTS).astype(int)
            keep = np.sort(order[step] if face.sum() > MOST_POINTS else np.unique(np.r_[order[: face.sum()], order[step]]))
            chosen, face = chosen[keep], face[keep]
        self.vertex_ids = torch.as_tensor(found.vertex_ids[chosen])
        self._corners = a.faces[torch.as_tensor(found.face_ids[chosen])]
        self._shares = torch.as_tensor(found.barycentrics[chosen])
        self._weights = torch.as_tensor(found.sure[chosen] * np.where(face, 1.0, ELSEWHERE))
        self.turn, self._shift = torch.as_tensor(found.turn), torch.as_tensor(found.shift)
        self.metric = self._sliding_metric()
        self._eyes = _Eyes.of(a, b)
        self._solve_shape()
        self._expression_columns = self._columns()
        self._solver: Tensor | None = None

    def __call__(self, params: HeadParams) -> HeadParams:
        """Parameters [B, ...] of `b` from those of `a`."""
        with torch.no_grad():
            return HeadParams.stack([self._one(params.index(k)) for k in range(len(params.translation))])

    def shape(self, shape: Tensor) -> Tensor:
        """Identity coefficients [..., S_b] from [..., S_a]."""
        return (shape.double() @ self._shape_matrix.T + self._shape_constant).to(shape)

    def on_a(self, vertices: Tensor) -> Tensor:
        """The corresponding points [P, 3] on `a` with vertices [N, 3], in its own axes, float64."""
        return (vertices.double()[self._corners] * self._shares[..., None]).sum(-2)

    def _carried(self, values: Tensor) -> Tensor:
        """Per-vertex values [N_a, 3, C] of `a` at the points, in `b`'s axes: [P, 3, C]."""
        at_points = (values.double()[self._corners] * self._shares[..., None, None]).sum(1)
        return torch.einsum("xy,pyc->pxc", self.turn, at_points)

    def _sliding_metric(self) -> Tensor:
        """[P, 3, 3]: residuals are multiplied by it before they are squared."""
        normals = vertex_normals(self.b.template, self.b.faces)[self.vertex_ids].double()
        across = normals[:, :, None] * normals[:, None]
        along = ALONG_SKIN**0.5
        return self._weights[:, None, None] ** 0.5 * (along * torch.eye(3, dtype=torch.float64) + (1 - along) * across)

    def _measured(self, values: Tensor) -> Tensor:
        """Offsets [P, 3, C] as rows [3 P, C] of the least squares."""
        return torch.einsum("pxy,pyc->pxc", self.metric, values).flatten(0, 1)

    def _solve_shape(self) -> None:
        """The matrix and the constant of `shape`; a person's small rigid motion is solved for beside it and left to the pose."""
        points = self.b.template.double()[self.vertex_ids]
        basis = self.b.shape_basis.double()[self.vertex_ids]
        design = self._measured(torch.cat([basis, _small_motions(points)], -1))
        count = basis.shape[-1]
        penalty = torch.cat([torch.full((count,), self.settings.shape_ridge), torch.full((6,), 1e-12)]).double()
        solver = torch.linalg.solve(design.T @ design + penalty.diag(), design.T)[:count]
        of_mean = self.on_a(self.a.template) @ self.turn.T + self._shift - points
        self._shape_matrix = solver @ self._measured(self._carried(self.a.shape_basis))
        self._shape_constant = (solver @ self._measured(of_mean[..., None]))[:, 0]

    def _columns(self) -> Tensor:
        """What each expression coefficient and eyelid of `b` does at the points: [P, 3, E + lids]."""
        basis = self.b.expression_basis.double()[self.vertex_ids]
        if self.b.eyelid_basis is None:
            return basis
        return torch.cat([basis, self.b.eyelid_basis.double()[self.vertex_ids]], -1)

    def _one(self, params: HeadParams) -> HeadParams:
        """One head, without leading dims."""
        shape = self.shape(params.shape)
        made = HeadParams.zeros(self.b).replace(shape=shape)
        rest = params.at_rest()
        neutral = self.a.neutral(params.shape)
        at_rest = self.a(rest).vertices
        wanted = (self.on_a(at_rest) - self.on_a(neutral)) @ self.turn.T
        made = self._eyes.gaze(made, rest, self.a, self.b, self.turn)
        made = self._expressed(made, wanted, self._eyes.offsets(neutral, at_rest, made, self.a, self.b, self.turn))
        if params.neck_rotvec is not None and made.neck_rotvec is not None:
            made = made.replace(neck_rotvec=_turned(params.neck_rotvec, self.turn))
        return self._posed(made, self.on_a(self.a(params).vertices))

    def _expressed(self, made: HeadParams, wanted: Tensor, eyes: tuple[Tensor, Tensor] | None) -> HeadParams:
        """Expression and lids, and the jaw if there is one, whose displacement of the person's own neutral face is nearest to
        `wanted` [P, 3]; eyes: what the eyeballs of a head without eye joints should do (_Eyes.offsets)."""
        if made.jaw_rotvec is not None:
            coefficients, jaw = self._with_jaw(made, wanted)
            made = made.replace(jaw_rotvec=jaw.to(made.jaw_rotvec))
        else:
            right = self._measured(wanted[..., None])[:, 0]
            right = right if eyes is None else torch.cat([right, eyes[1].flatten()])
            coefficients = self._expression_solver(None if eyes is None else eyes[0]) @ right
        count = self.b.num_expression
        lids = None if made.eyelids is None else coefficients[count:].to(made.eyelids)
        return made.replace(expression=coefficients[:count].to(made.expression), eyelids=lids)

    def _expression_solver(self, eye_columns: Tensor | None) -> Tensor:
        """Rows [C, 3 P + 3 Q] of the least squares of a head without a jaw; the same for everybody, so made once."""
        if self._solver is None:
            design = self._measured(self._expression_columns)
            if eye_columns is not None:
                design = torch.cat([design, _padded(eye_columns.flatten(0, 1), design.shape[1])])
            penalty = torch.full((design.shape[1],), self.settings.expression_ridge, dtype=torch.float64)
            self._solver = torch.linalg.solve(design.T @ design + penalty.diag(), design.T)
        return self._solver

    def _with_jaw(self, made: HeadParams, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients [E + lids] and the jaw's rotation vector, by Gauss-Newton: a jaw turns what the expression offsets."""
        columns = self._expression_columns
        neutral = self.b.neutral(made.shape).double()[self.vertex_ids]
        jaw, coefficients = torch.zeros(3, dtype=torch.float64), torch.zeros(columns.shape[-1], dtype=torch.float64)
        penalty = torch.full((len(coefficients) + 3,), self.settings.expression_ridge, dtype=torch.float64)
        for _ in range(self.settings.jaw_steps):
            place = self._with(made, coefficients, jaw)
            nudged = [self._with(made, coefficients, jaw + NUDGE * axis) - place for axis in torch.eye(3, dtype=torch.float64)]
            turned = torch.einsum("pxy,pyc->pxc", self._jaw_rotations(jaw), columns)
            design = self._measured(torch.cat([turned, torch.stack(nudged, -1) / NUDGE], -1))
            right = self._measured((wanted - (place - neutral))[..., None])[:, 0]
            now = torch.cat([coefficients, jaw])
            step = torch.linalg.solve(design.T @ design + penalty.diag(), design.T @ right - penalty * now)
            coefficients, jaw = (now + step).split([len(coefficients), 3])
        return coefficients, jaw

    def _with(self, made: HeadParams, coefficients: Tensor, jaw: Tensor) -> Tensor:
        """The points [P, 3] of `b` at rest with an expression and a jaw."""
        count = self.b.num_expression
        lids = None if made.eyelids is None else coefficients[count:].float()
        posed = made.replace(expression=coefficients[:count].float(), eyelids=lids, jaw_rotvec=jaw.float())
        return self.b(posed).vertices.double()[self.vertex_ids]

    def _jaw_rotations(self, jaw: Tensor) -> Tensor:
        """How a jaw turns small offsets at the points [P, 3, 3]."""
        share = self.b.skinning_weights.double()[self.vertex_ids, self.b.joint_names.index("jaw")]
        unturned = torch.eye(3, dtype=torch.float64)
        return unturned + share[:, None, None] * (rotvec_to_matrix(jaw) - unturned)

    def _posed(self, made: HeadParams, wanted: Tensor) -> HeadParams:
        """Root rotation and translation that lay `b`'s points on `wanted` [P, 3]. (GNM corrects its shape by the root's turn too:
        hence twice.)"""
        for _ in range(2):
            points = self.b(made).vertices.double()[self.vertex_ids]
            turn, _ = rigid_motion(points, wanted, self._weights)
            whole = turn @ rotvec_to_matrix(made.root_rotvec.double())
            made = made.replace(root_rotvec=matrix_to_rotvec(whole).to(made.root_rotvec))
            points = self.b(made).vertices.double()[self.vertex_ids]
            shift = ((wanted - points) * self._weights[:, None]).sum(0) / self._weights.sum()
            made = made.replace(translation=made.translation + shift.to(made.translation))
        return made


class _Eyes:
    """Eyeballs of both heads [left, right] as vertex masks; None where either names none."""

    def __init__(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        self._pairs = pairs

    @classmethod
    def of(cls, a: HeadModel, b: HeadModel) -> _Eyes:
        names = ("eyeball_left", "eyeball_right")
        if not all(name in head.region_names for head in (a, b) for name in names):
            return cls([])
        return cls([(a.region_masks[name], b.region_masks[name]) for name in names])

    def turns(self, neutral: Tensor, at_rest: Tensor) -> list[Tensor]:
        """How far `a`'s eyeballs are turned [3, 3], from its vertices before and after."""
        return [rigid_motion(neutral[ball].double(), at_rest[ball].double())[0] for ball, _ in self._pairs]

    def gaze(self, made: HeadParams, rest: HeadParams, a: HeadModel, b: HeadModel, turn: Tensor) -> HeadParams:
        """`b`'s eye joints turned as `a`'s eyeballs are."""
        if not self._pairs or made.eye_left_rotvec is None or made.eye_right_rotvec is None:
            return made
        left, right = (
            matrix_to_rotvec(turn @ own @ turn.T).to(made.translation)
            for own in self.turns(a.neutral(rest.shape), a(rest).vertices)
        )
        return made.replace(eye_left_rotvec=left, eye_right_rotvec=right)

    def offsets(
        self, neutral: Tensor, at_rest: Tensor, made: HeadParams, a: HeadModel, b: HeadModel, turn: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """For a `b` that looks by expression: what its expression does to its eyeballs [Q, 3, E], and what it should [Q, 3]."""
        if not self._pairs or made.eye_left_rotvec is not None:
            return None
        columns, wanted = [], []
        for (_, ball), own in zip(self._pairs, self.turns(neutral, at_rest), strict=True):
            points = b.neutral(made.shape).double()[ball]
            around = points - points.mean(0)
            wanted.append(around @ (turn @ own @ turn.T).T - around)
            columns.append(b.expression_basis.double()[ball])
        return torch.cat(columns), torch.cat(wanted)


def _padded(rows: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]))


def _turned(rotvec: Tensor, turn: Tensor) -> Tensor:
    """The same rotation in other axes."""
    return (rotvec.double() @ turn.T).to(rotvec)


def _small_motions(points: Tensor) -> Tensor:
    """Displacements [P, 3, 6] of points [P, 3]: three shifts and three turns about the origin."""
    axes = torch.eye(3, dtype=points.dtype)
    shifts = axes.expand(len(points), 3, 3)
    turns = torch.stack([torch.linalg.cross(axis.expand(len(points), 3), points) for axis in axes], -1)
    return torch.cat([shifts, turns], -1)


def rigid_motion(moving: Tensor, fixed: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rotation [3, 3] and shift [3] that bring `moving` [P, 3] onto `fixed` [P, 3] (Kabsch)."""
    share = torch.full((len(moving),), 1 / len(moving), dtype=moving.dtype) if weights is None else weights / weights.sum()
    middle, goal = share @ moving, share @ fixed
    u, _, vt = torch.linalg.svd((fixed - goal).T @ (share[:, None] * (moving - middle)))
    sign = torch.ones(3, dtype=moving.dtype)
    sign[2] = torch.sign(torch.det(u @ vt))
    rotation = (u * sign) @ vt
    return rotation, goal - rotation @ middle
