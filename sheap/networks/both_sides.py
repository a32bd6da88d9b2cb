"""Every crop seen twice, as it is and mirrored: a network is not symmetric, errs differently in the two, and the mean errs less.

`python -m experiments.predictor measure` prints what it brings (identity_one against identity_one_side).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.head import HeadModel, HeadParams
from sheap.head.mirror import HeadMirror
from sheap.networks.head_codes import HeadCodes
from sheap.networks.sheap_network import SheapNetwork


@dataclass(frozen=True)
class BothSides:
    """A network's answers to crops; mirror: None where the head model has none, each crop is then seen once."""

    network: SheapNetwork
    mirror: HeadMirror | None

    @classmethod
    def of(cls, network: SheapNetwork) -> BothSides:
        return cls(network, mirror_of(network.head))

    def params(self, images: Tensor) -> HeadParams:
        """Crops [B, 3, S, S] of the network's side -> heads [B]."""
        return self.heads(self.looks(images))

    def person(self, images: Tensor) -> HeadParams:
        """Crops [V, 3, S, S] of one person -> heads [V] with the one shape that they say together."""
        looks = self.looks(images)
        return self.heads(looks).replace(shape=self.fused_shape(looks).expand(len(images), -1))

    def looks(self, images: Tensor) -> list[HeadCodes]:
        """Codes of the crops and, where there is a mirror, of the mirrored ones."""
        sides = [images] if self.mirror is None else [images, images.flip(-1)]
        return [self.network.encode(side) for side in sides]

    def heads(self, looks: Sequence[HeadCodes]) -> HeadParams:
        """The heads [B] of B crops that were looked at."""
        return self._mean([codes.params for codes in looks])

    def fused_shape(self, looks: Sequence[HeadCodes]) -> Tensor:
        """One shape [1, S] of a person who was looked at in V crops, each counting by what it shows."""
        values, log_weights = self.shape_evidence(looks)
        return self.shape_from((torch.softmax(log_weights, 0)[:, None] * values).sum(0, keepdim=True))

    def shape_evidence(self, looks: Sequence[HeadCodes]) -> tuple[Tensor, Tensor]:
        """What B looks say of their people's shapes: values [B, D], which several of one person are averaged in, and the
        logarithms [B] of their weights there (SheapNetwork.shape_evidence, of all sides)."""
        values, log_weights = zip(*[self.network.shape_evidence(codes) for codes in looks], strict=True)
        return torch.cat(values, 1), torch.stack(log_weights).mean(0)

    def shape_from(self, values: Tensor) -> Tensor:
        """The shapes [B, S] that (averaged) values [B, D] of `shape_evidence` stand for."""
        if self.mirror is None:
            return self.network.shape_from(values)
        seen, mirrored = (self.network.shape_from(side) for side in values.chunk(2, 1))
        return (seen + self.mirror.shape(mirrored)) / 2

    def _mean(self, sides: Sequence[HeadParams]) -> HeadParams:
        """Of what was seen as it is, and of what was seen mirrored, turned back."""
        if self.mirror is None:
            return sides[0]
        seen, mirrored = sides
        return HeadParams.stack([seen, self.mirror(mirrored)]).map(lambda values: values.mean(0))


def mirror_of(head: HeadModel) -> HeadMirror | None:
    """The head model's mirror, if it says which vertices mirror each other."""
    return None if head.mirror_vertex_ids is None else HeadMirror(head)
