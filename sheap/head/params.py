"""What poses a head, and what comes out: plain dataclasses of tensors that share their leading dimensions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sheap.records import TensorRecord

if TYPE_CHECKING:
    from sheap.head.model import HeadModel


JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
"""The joints a head may have; every head has the root."""


def joint_parents(names: Sequence[str]) -> tuple[int, ...]:
    """Parents of joints in the order of `names` (-1: the root has none): jaw and eyes hang on the neck, or on the root of a head
    without."""
    above = names.index("neck") if "neck" in names else 0
    return tuple(-1 if name == "root" else 0 if name == "neck" else above for name in names)


@dataclass(frozen=True)
class HeadParams(TensorRecord):
    """Coefficients and pose of a batch of heads; every field has the same leading dims [...].

    shape [..., S] and expression [..., E]: unit-variance coefficients, zero is the mean head and the neutral face.
    eyelids [..., 2]: left, right; 0 open, 1 closed. *_rotvec [..., 3]: radians, in the parent joint's axes.
    translation [..., 3]: moves the posed head in the world, metres. What a head model has not (eyelids, a joint) is None.
    """

    shape: Tensor
    expression: Tensor
    eyelids: Tensor | None
    root_rotvec: Tensor
    neck_rotvec: Tensor | None
    jaw_rotvec: Tensor | None
    eye_left_rotvec: Tensor | None
    eye_right_rotvec: Tensor | None
    translation: Tensor

    @classmethod
    def zeros(
        cls, head: HeadModel, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> HeadParams:
        """The mean head at rest, `batch` times; device and dtype default to the head's."""
        device = head.template.device if device is None else device
        dtype = head.template.dtype if dtype is None else dtype

        def zeros(*sizes: int) -> Tensor:
            return torch.zeros(*batch, *sizes, device=device, dtype=dtype)

        eyelids = zeros(head.num_eyelids) if head.num_eyelids else None
        turns = zeros(len(head.joint_names), 3)
        return cls.from_parts(head, zeros(head.num_shape), zeros(head.num_expression), eyelids, turns, zeros(3))

    @classmethod
    def from_parts(
        cls, head: HeadModel, shape: Tensor, expression: Tensor, eyelids: Tensor | None, rotvecs: Tensor, translation: Tensor
    ) -> HeadParams:
        """From rotation vectors [..., J, 3] in the order of the head's joints."""
        turns = dict(zip(head.joint_names, rotvecs.unbind(-2), strict=True))
        neck, jaw, left, right = (turns.get(name) for name in JOINT_NAMES[1:])
        return cls(shape, expression, eyelids, turns["root"], neck, jaw, left, right, translation)

    @property
    def batch_shape(self) -> torch.Size:
        return self.translation.shape[:-1]

    @property
    def turn(self) -> Tensor:
        """Root's and neck's rotation vectors together [..., 3]: about how far the face is turned."""
        return self.root_rotvec if self.neck_rotvec is None else self.root_rotvec + self.neck_rotvec

    def rotvecs(self) -> Tensor:
        """The joints' rotations [..., J, 3] in the model's joint order: root, neck, jaw, left eye, right eye, those there are."""
        turns = [getattr(self, f"{name}_rotvec") for name in JOINT_NAMES]
        return torch.stack([turn for turn in turns if turn is not None], dim=-2)

    def at_rest(self) -> HeadParams:
        """The same face where the model has it: root and neck unturned, no translation."""
        still = torch.zeros_like(self.translation)
        neck = None if self.neck_rotvec is None else still
        return self.replace(root_rotvec=still, neck_rotvec=neck, translation=still)

    def present(self) -> dict[str, Tensor]:
        """The fields that this head has, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class HeadMesh(TensorRecord):
    """A posed head in the world: vertices [..., N, 3] and joints [..., J, 3], metres."""

    vertices: Tensor
    joints: Tensor
