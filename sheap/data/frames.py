"""Head crops and pairs of them, one or many: what is stored, augmented, batched and trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.data.truth import FrameTruth
from sheap.records import TensorRecord


@dataclass(frozen=True)
class Frames(TensorRecord):
    """Square head crops with leading dims `...`; a single one has none.

    images: uint8 RGB [..., H, W, 3]. masks: uint8 [..., H, W], 255 on the head with its hair. landmarks: float32
    [..., 478, 3] px (the third is the detector's relative depth). truth: of rendered frames, where a reader was asked for it.
    """

    images: Tensor
    masks: Tensor
    landmarks: Tensor
    truth: FrameTruth | None = None

    @classmethod
    def from_arrays(
        cls,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        landmarks: NDArray[np.float32],
        truth: FrameTruth | None = None,
    ) -> Frames:
        """Shares the arrays' memory."""
        return cls(torch.from_numpy(images), torch.from_numpy(masks), torch.from_numpy(landmarks), truth)

    def __len__(self) -> int:
        return len(self.images)

    def colors(self) -> Tensor:
        """float32 RGB [..., H, W, 3] in [0, 1]."""
        return self.images.float() / 255

    def coverage(self) -> Tensor:
        """float32 [..., H, W, 1] in [0, 1]."""
        return self.masks.float()[..., None] / 255

    def over(self, background: Tensor) -> Tensor:
        """The foreground over plain colours [..., 3]: [..., H, W, 3]."""
        covered = self.coverage()
        return self.colors() * covered + background[..., None, None, :] * (1 - covered)


@dataclass(frozen=True)
class Pairs(TensorRecord):
    """Source and target: two frames of one person, each with the same leading dims."""

    source: Frames
    target: Frames

    def __len__(self) -> int:
        return len(self.source)
