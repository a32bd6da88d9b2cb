"""A batch as the step takes it: floats, masks as fractions, channels first where the network wants them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.data.pairs import PairBatch


@dataclass(frozen=True)
class Frames:
    """B frames of heads. images [B, H, W, 3] in [0, 1], masks [B, H, W, 1] in [0, 1], landmarks [B, 478, 2] px."""

    images: Tensor
    masks: Tensor
    landmarks: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Frames:
        return Frames(self.images[:count], self.masks[:count], self.landmarks[:count])

    def over(self, background: Tensor) -> Tensor:
        """The foreground over a plain background [B, 3]: [B, H, W, 3]."""
        return self.images * self.masks + background[:, None, None] * (1 - self.masks)


@dataclass(frozen=True)
class Pairs:
    """Source and target frames of B pairs, and the plain background [B, 3] each pair is rendered over."""

    source: Frames
    target: Frames
    background: Tensor

    def first(self, count: int) -> Pairs:
        return Pairs(self.source.first(count), self.target.first(count), self.background[:count])


def to_pairs(batch: PairBatch, generator: torch.Generator) -> Pairs:
    """uint8 batch to floats on its device. Backgrounds are random colours: only true coverage then explains any of them.

    generator: on the CPU.
    """

    def frames(images: Tensor, masks: Tensor, landmarks: Tensor) -> Frames:
        return Frames(images.float() / 255, masks.float()[..., None] / 255, landmarks.float())

    background = torch.rand(len(batch.clip_ids), 3, generator=generator).to(batch.source_image.device)
    return Pairs(
        frames(batch.source_image, batch.source_mask, batch.source_landmarks),
        frames(batch.target_image, batch.target_mask, batch.target_landmarks),
        background,
    )
