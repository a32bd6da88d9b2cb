"""How wrong a predicted identity is, as the face's surface sees it: the squared error of shape coefficients in millimetres."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sheap.head import HeadModel
from sheap.render.mesh import vertex_normals

TANGENT_SHARE = 0.25
"""What an error along the skin counts against one across it: NoW measures distances to a surface."""
SIMILARITY_SHARE = 0.05
"""What turning, moving or scaling the whole face counts: NoW takes it out, a size that floats freely helps nobody."""
FACE_RADIUS_M = 0.095
"""Vertices this near to the middle of the face are what NoW crops from a scan."""


class ShapeMetric(nn.Module):
    """A quadratic form on shape coefficients, built once from a head model.

    An error d of the coefficients [.., S] moves the neutral face's vertices by basis @ d. Its similarity motion, in the least
    squares of the face, is taken out (but for SIMILARITY_SHARE); of the rest the part across the skin counts fully and that
    along it TANGENT_SHARE. Divided by what the mean head scores over the population, so that knowing nobody is 1.
    """

    def __init__(self, head: HeadModel) -> None:
        super().__init__()
        template = head.template.double()
        basis = head.shape_basis.double()
        weights = face_weights(head).double()
        normals = vertex_normals(head.template, head.faces).double()
        motions = similarity_motions(template)
        root = weights.sqrt()[:, None, None]
        left, _ = torch.linalg.qr((motions * root).flatten(0, 1))
        weighted = (basis * root).flatten(0, 1)
        rigid = left @ (left.T @ weighted)
        rest = (weighted - rigid).unflatten(0, basis.shape[:2])
        across = torch.einsum("nc,ncs->ns", normals, rest)
        along = rest - normals[:, :, None] * across[:, None]
        parts = [across, TANGENT_SHARE**0.5 * along.flatten(0, 1), SIMILARITY_SHARE**0.5 * rigid]
        form = sum((part.T @ part for part in parts), torch.zeros((), dtype=torch.float64))
        # Coefficients are standard normal: the form's trace is the mean head's expected score.
        values, vectors = torch.linalg.eigh(form / form.trace())
        factor = vectors * values.clamp_min(0).sqrt()
        self.register_buffer("factor", factor.float(), persistent=False)

    def forward(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Squared errors [...] of shape coefficients [..., S] against true ones."""
        return ((predicted - true) @ self.factor).square().sum(-1)


def face_weights(head: HeadModel) -> Tensor:
    """Area of outer skin [N] that each vertex stands for on the face, and a twentieth of it elsewhere; nothing inside mouth and
    eye sockets."""
    corners = head.template[head.faces].double()
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 6
    area = torch.zeros(head.num_vertices, dtype=torch.float64).index_add_(0, head.faces.flatten(), areas.repeat_interleave(3))
    return area * outer_skin(head) * torch.where(face_vertices(head), 1.0, 0.05)


def face_vertices(head: HeadModel) -> Tensor:
    """Mask [N] of the outer skin within FACE_RADIUS_M of the middle of the face (of NoW's landmarks, as NoW has it)."""
    now = head.now_landmarks(head.template)
    middle = now[4] + 0.3 * ((now[1] + now[2]) / 2 - now[4])
    return outer_skin(head) & ((head.template - middle).norm(dim=1) < FACE_RADIUS_M)


def outer_skin(head: HeadModel) -> Tensor:
    """Mask [N] of the skin without the inside of the mouth and of the eye sockets; every vertex where a head names no regions."""
    masks = head.region_masks
    outer = masks["skin"].clone() if "skin" in masks else torch.ones(head.num_vertices, dtype=torch.bool)
    for name in ("mouth_interior", "eye_sockets"):
        if name in masks:
            outer &= ~masks[name]
    return outer


def similarity_motions(points: Tensor) -> Tensor:
    """Displacements [N, 3, 7] of points [N, 3] under small shifts, turns and scaling about the origin."""
    count = len(points)
    shifts = torch.eye(3, dtype=points.dtype).expand(count, 3, 3)
    axes = torch.eye(3, dtype=points.dtype)
    turns = torch.stack([torch.linalg.cross(axis.expand(count, 3), points) for axis in axes], -1)
    return torch.cat([shifts, turns, points[:, :, None]], -1)
