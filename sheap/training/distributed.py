"""Several workers, one model: gradients are averaged, records summed. One worker needs no process group."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def is_distributed() -> bool:
    """True where several workers train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces every gradient by its mean over the workers, in one transfer.

    A parameter without a gradient on every worker keeps none; all workers run the same phase, so they agree on which.
    """
    if not is_distributed():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))


def sum_over_workers(tensors: Iterable[Tensor]) -> None:
    """Replaces every tensor by its sum over the workers."""
    if is_distributed():
        for tensor in tensors:
            dist.all_reduce(tensor)


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Replaces every tensor by the first worker's."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
