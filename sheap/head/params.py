"""What poses a head, and what comes out: plain dataclasses of tensors that share their leading dimensions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sheap.records import TensorRecord

if TYPE_CHECKING:
    from sheap.head.model import HeadModel


@dataclass(frozen=True)
class HeadParams(TensorRecord):
    """Coefficients and pose of a batch of heads; every field has the same leading dims [...].

    shape [..., S] and expression [..., E]: unit-variance coefficients, zero is the mean head and the neutral face.
    eyelids [..., 2]: left, right; 0 open, 1 closed. *_rotvec [..., 3]: radians, in the parent joint's axes.
    translation [..., 3]: moves the posed head in the world, metres.
    """

    shape: Tensor
    expression: Tensor
    eyelids: Tensor
    root_rotvec: Tensor
    neck_rotvec: Tensor
    jaw_rotvec: Tensor
    eye_left_rotvec: Tensor
    eye_right_rotvec: Tensor
    translation: Tensor

    @classmethod
    def zeros(
        cls, head: HeadModel, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> HeadParams:
        """The mean head at rest, `batch` times; device and dtype default to the head's."""
        device = head.template.device if device is None else device
        dtype = head.template.dtype if dtype is None else dtype
        sizes = {"shape": head.num_shape, "expression": head.num_expression, "eyelids": 2}
        return cls(
            **{
                field.name: torch.zeros(*batch, sizes.get(field.name, 3), device=device, dtype=dtype)
                for field in dataclasses.fields(cls)
            }
        )

    @property
    def batch_shape(self) -> torch.Size:
        return self.translation.shape[:-1]

    def rotvecs(self) -> Tensor:
        """All joint rotations [..., 5, 3] in the model's joint order: root, neck, jaw, left eye, right eye."""
        return torch.stack(
            [self.root_rotvec, self.neck_rotvec, self.jaw_rotvec, self.eye_left_rotvec, self.eye_right_rotvec], dim=-2
        )


@dataclass(frozen=True)
class HeadMesh(TensorRecord):
    """A posed head in the world: vertices [..., N, 3] and joints [..., 5, 3], metres."""

    vertices: Tensor
    joints: Tensor
