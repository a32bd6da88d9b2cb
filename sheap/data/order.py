"""Which sample comes when: decided by seed and position alone, so a cursor resumes exactly and ranks never overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def epoch_order(num_items: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation [num_items] of one epoch: every item exactly once."""
    return np.random.default_rng([seed, epoch, 0x0D]).permutation(num_items)


class CursorBatchSampler(Sampler[list[int]]):
    """Batches of positions for one rank: `order[cursor + rank :: world_size]`, cut into batches.

    cursor counts samples consumed by all ranks together. Each step takes `batch_size * world_size` positions; a last
    incomplete step is left out, so that every rank takes the same number of steps. After n steps the cursor to store is
    `cursor + n * batch_size * world_size`, and from there any number of ranks may go on.
    """

    def __init__(
        self, num_samples: int, *, batch_size: int, cursor: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1 or world_size < 1 or not 0 <= rank < world_size:
            raise ValueError(f"batch_size {batch_size}, rank {rank}, world_size {world_size}: not a valid arrangement")
        if not 0 <= cursor <= num_samples:
            raise ValueError(f"cursor: expected 0 to {num_samples}, got {cursor}")
        self._num_samples, self._cursor = num_samples, cursor
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size

    def __len__(self) -> int:
        return (self._num_samples - self._cursor) // (self._batch_size * self._world_size)

    def __iter__(self) -> Iterator[list[int]]:
        step_size = self._batch_size * self._world_size
        for step in range(len(self)):
            start = self._cursor + step * step_size
            yield list(range(start + self._rank, start + step_size, self._world_size))
