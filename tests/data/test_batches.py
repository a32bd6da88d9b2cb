"""Batches of two parts: every rank has its part of both, and together they hold what one alone would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sheap.data.batches import BatchPlan, MakeBatches, indexed_batches, mixed_batches
from sheap.data.frames import Frames, Pairs


class NumberedPairs(Dataset[Pairs]):
    """Pairs whose landmarks all say which sample of which part they are."""

    def __init__(self, num_samples: int, first: int) -> None:
        self._num_samples, self._first = num_samples, first

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, number: int) -> Pairs:
        points = np.full((478, 3), self._first + number, np.float32)
        frame = Frames.from_arrays(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), points)
        return Pairs(frame, frame)


def mixed() -> MakeBatches:
    def part(first: int) -> MakeBatches:
        return indexed_batches(lambda count, _seed: NumberedPairs(count, first))

    return mixed_batches(part(0), part(1000), lambda size: size // 4)


def numbers(plan: BatchPlan) -> list[Tensor]:
    return [pairs.source.landmarks[:, 0, 0] for pairs in mixed()(plan)]


def test_ranks_share_both_parts_of_every_batch_wherever_they_begin() -> None:
    alone = numbers(BatchPlan(num_samples=32, batch_size=8, seed=0))
    assert [batch.tolist() for batch in alone[:2]] == [[0, 1, 2, 3, 4, 5, 1000, 1001], [6, 7, 8, 9, 10, 11, 1002, 1003]]
    for cursor in (0, 16):
        plan = BatchPlan(num_samples=32, batch_size=4, seed=0, cursor=cursor, world_size=2)
        ranks = [numbers(replace(plan, rank=rank)) for rank in (0, 1)]
        assert len(ranks[0]) == len(ranks[1]) == len(alone) - cursor // 8
        for whole, first, second in zip(alone[cursor // 8 :], *ranks, strict=True):
            # The places that colours for a whole batch are dealt out by.
            assert torch.equal(first, whole[0::2]) and torch.equal(second, whole[1::2])


def test_a_part_that_the_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="1 pairs for 2 ranks"):
        numbers(BatchPlan(num_samples=32, batch_size=2, seed=0, world_size=2))
