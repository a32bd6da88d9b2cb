"""What the encoder says about one image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sheap.head import HeadParams
from sheap.networks.compact_encoder import CompactLook
from sheap.records import TensorRecord


@dataclass(frozen=True)
class HeadCodes(TensorRecord):
    """Codes of B images, float32.

    params: the head model's share, from the tokens shape, expression and pose. lighting [B, K]: weights of the illumination
    prior in its standard deviations. features [B, C, h, w]: identity features for the Gaussians. look: what the compact
    encoder saw; other encoders leave it out.
    """

    params: HeadParams
    lighting: Tensor
    features: Tensor
    look: CompactLook | None = None


def reenact(identity: HeadCodes, motion: HeadCodes) -> HeadCodes:
    """Shape, lighting and features of `identity` with the expression and pose of `motion` (method.md, 3)."""
    return identity.replace(params=motion.params.replace(shape=identity.params.shape))
