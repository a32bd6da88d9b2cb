"""How far weights have left those that training began with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def near_start(weights: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """Half the squared distance of all weights together from their start: L2-SP (arXiv 1802.01483), scalar.

    weights, start: tensors of the same shapes in the same order, at least one. Plain as in the paper: a share of each tensor's
    own size would hold small tensors hardest, such as biases that start at nothing.
    """
    return 0.5 * torch.stack([(now - then).square().sum() for now, then in zip(weights, start, strict=True)]).sum()
