"""What the encoder says about one image."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from sheap.head import HeadParams


@dataclass(frozen=True)
class HeadCodes:
    """Codes of B images. The five tokens' outputs: shape | expression, eyelids | pose | lighting | features.

    shape [B, S], expression [B, E], eyelids [B, 2] (left, right; 0 open .. 1 closed); *_rotvec [B, 3] radians;
    translation [B, 3] metres; lighting [B, K], weights of the illumination prior in its standard deviations;
    features [B, C, h, w], identity features for the Gaussians.
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
    lighting: Tensor
    features: Tensor

    def head_params(self) -> HeadParams:
        """The head model's share, in float32: geometry is never computed in less."""
        return HeadParams(**{name: getattr(self, name).float() for name in (*_IDENTITY_GEOMETRY, *_MOTION)})

    def split(self, sizes: list[int]) -> list[HeadCodes]:
        """Consecutive pieces along the batch."""
        columns = {field.name: getattr(self, field.name).split(sizes) for field in fields(self)}
        return [HeadCodes(**{name: pieces[k] for name, pieces in columns.items()}) for k in range(len(sizes))]

    def first(self, count: int) -> HeadCodes:
        """The first `count` of the batch."""
        return HeadCodes(**{field.name: getattr(self, field.name)[:count] for field in fields(self)})

    def rolled(self) -> HeadCodes:
        """Each row's place taken by the next one's codes, the last by the first's."""
        return HeadCodes(**{field.name: getattr(self, field.name).roll(-1, 0) for field in fields(self)})

    @staticmethod
    def concatenate(parts: list[HeadCodes]) -> HeadCodes:
        """One batch after another."""
        return HeadCodes(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(HeadCodes)})


_IDENTITY_GEOMETRY = ("shape",)
_MOTION = (
    "expression",
    "eyelids",
    "root_rotvec",
    "neck_rotvec",
    "jaw_rotvec",
    "eye_left_rotvec",
    "eye_right_rotvec",
    "translation",
)


def reenact(identity: HeadCodes, motion: HeadCodes) -> HeadCodes:
    """Shape, lighting and features of `identity` with the expression and pose of `motion` (method.md, 3)."""
    return replace(identity, **{name: getattr(motion, name) for name in _MOTION})
