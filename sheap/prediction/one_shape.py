"""One shape for all sightings of a person, and the sightings' poses and expressions refitted to it.

Each sighting's expression and pose were predicted together with a shape of its own. Under another shape the same numbers put the
face elsewhere: on four videos the mesh's landmarks departed 4 to 16 % farther from the detected ones. So every sighting is
fitted to what it was: the landmarks of the head with its own shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.geometry.cameras import PUBLISHED_DISTANCE
from sheap.geometry.rotations import matrix_to_rotvec, nearest_rotation, rotvec_to_matrix
from sheap.head import HeadModel, HeadParams

RIDGE = 1.0
"""Of the expression's change, over its components' mean effect on the landmarks. Measured on five videos: from 1 down to 0.02 the
landmarks lie as near as before the shape was changed, so the least change is taken."""

BATCH = 64
"""Heads posed at once."""


@dataclass(frozen=True)
class ShapeEvidence:
    """What sightings say of a shape: values [D] are to be averaged by weights that add up; log_weight: their logarithm."""

    values: Tensor
    log_weight: Tensor

    @classmethod
    def of(cls, values: Tensor, log_weights: Tensor) -> ShapeEvidence:
        """From V sightings' values [V, D] and log_weights [V]."""
        return cls(torch.softmax(log_weights, 0) @ values, torch.logsumexp(log_weights, 0))

    def joined(self, other: ShapeEvidence) -> ShapeEvidence:
        """Both together."""
        return self.of(torch.stack([self.values, other.values]), torch.stack([self.log_weight, other.log_weight]))


@torch.inference_mode()
def with_shape(head: HeadModel, params: HeadParams, shape: Tensor) -> HeadParams:
    """Heads [B] with the shape [S] that lie where they lay, as the fixed camera sees them."""
    parts = [_with_shape(head, part, shape) for part in params.split(_sizes(len(params.shape)))]
    return HeadParams.concatenate(parts)


def _with_shape(head: HeadModel, params: HeadParams, shape: Tensor) -> HeadParams:
    new = params.replace(shape=shape.to(params.shape).expand_as(params.shape))
    weights = _weights(head)
    before, after = _points(head, head(params).vertices), _points(head, head(new).vertices)
    before_mean, after_mean = (weights @ points for points in (before, after))
    before_centred, after_centred = before - before_mean[:, None], after - after_mean[:, None]
    turn = nearest_rotation(torch.einsum("p,bpi,bpj->bij", weights, before_centred, after_centred))
    turned = after_centred @ turn.mT
    scale = torch.einsum("p,bpi,bpi->b", weights, turned, before_centred) / torch.einsum("p,bpi->b", weights, turned**2)
    # A smaller head looks as large when it is nearer: along the ray through its middle.
    camera = torch.tensor([0.0, 0.0, PUBLISHED_DISTANCE], dtype=turn.dtype, device=turn.device)
    towards = camera + (before_mean - camera) / scale[:, None]
    pivot = head.rest_joints(new)[..., 0, :].double()
    moved = (turn @ (pivot + new.translation.double() - after_mean)[..., None]).squeeze(-1) + towards - pivot
    root = matrix_to_rotvec(turn @ rotvec_to_matrix(new.root_rotvec.double()))
    new = new.replace(translation=moved.to(new.translation), root_rotvec=root.to(new.root_rotvec))
    # What no pose explains, the expression may, a little.
    left = camera + (before - camera) / scale[:, None, None] - _points(head, head(new).vertices)
    own = rotvec_to_matrix(new.root_rotvec.double())
    if new.neck_rotvec is not None:
        own = own @ rotvec_to_matrix(new.neck_rotvec.double())
    effects = _points(head, head.expression_basis.permute(2, 0, 1)).flatten(1)
    weighted = effects * weights.repeat_interleave(3)
    normal = weighted @ effects.T
    ridge = RIDGE * normal.diagonal().mean() * torch.eye(len(normal)).to(normal)
    change = torch.linalg.solve(normal + ridge, weighted @ (left @ own).flatten(1).T).T
    return new.replace(expression=new.expression + change.to(new.expression))


def _points(head: HeadModel, vertices: Tensor) -> Tensor:
    """The face's landmarks [..., P, 3] float64; of a head model without, its vertices."""
    return (vertices if head.landmark_faces is None else head.landmarks(vertices)).double()


def _weights(head: HeadModel) -> Tensor:
    """What each of these points counts, float64, in sum 1."""
    weights = torch.ones(len(head.template)) if head.landmark_faces is None else head.landmark_weights
    weights = weights.double().to(head.template.device)
    return weights / weights.sum()


def _sizes(count: int) -> list[int]:
    return [min(BATCH, count - start) for start in range(0, count, BATCH)]
