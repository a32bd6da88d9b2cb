"""Batches of training pairs, one rank's share from a cursor on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from torch.utils.data import DataLoader, Dataset

from sheap.data.frames import Pairs
from sheap.data.order import CursorBatchSampler


@dataclass(frozen=True)
class BatchPlan:
    """Which samples one rank takes.

    num_samples: of the whole phase, all ranks together. batch_size: of each rank. cursor: samples that all ranks together
    have consumed. loader_processes: that read ahead for this rank; 0 reads in this process.
    """

    num_samples: int
    batch_size: int
    seed: int
    cursor: int = 0
    rank: int = 0
    world_size: int = 1
    loader_processes: int = 0

    @property
    def num_steps(self) -> int:
        """Steps to come; every rank takes as many."""
        return (self.num_samples - self.cursor) // (self.batch_size * self.world_size)

    def resized(self, batch_size: int, seed: int) -> BatchPlan:
        """The plan of a part of every batch, with a seed of its own."""
        return replace(
            self,
            num_samples=self.num_samples // self.batch_size * batch_size,
            cursor=self.cursor // self.batch_size * batch_size,
            batch_size=batch_size,
            seed=seed,
        )


MakeBatches = Callable[[BatchPlan], Iterable[Pairs]]
"""Batches of pairs as a plan wants them. The same plan gives the same batches."""


def indexed_batches(make_dataset: Callable[[int, int], Dataset[Pairs]]) -> MakeBatches:
    """Batches of a dataset whose samples can be had by number; make_dataset: (number of samples, seed) -> the pairs."""

    def batches(plan: BatchPlan) -> Iterable[Pairs]:
        sampler = CursorBatchSampler(
            plan.num_samples,
            batch_size=plan.batch_size,
            cursor=plan.cursor,
            rank=plan.rank,
            world_size=plan.world_size,
        )
        dataset = make_dataset(plan.num_samples, plan.seed)
        return DataLoader(
            dataset, batch_sampler=sampler, collate_fn=Pairs.stack, num_workers=plan.loader_processes
        )

    return batches


SECOND_SEED = 1_000_003
"""Added to a plan's seed for the second part of mixed batches, so that the parts draw apart."""


def mixed_batches(first: MakeBatches, second: MakeBatches, second_of: Callable[[int], int]) -> MakeBatches:
    """Batches of which `second_of(pairs of all ranks)` pairs, the last ones of every rank, come from `second` and the others from
    `first`. What they give raises ValueError where the ranks cannot share those pairs equally."""

    def batches(plan: BatchPlan) -> Iterable[Pairs]:
        behind, left = divmod(second_of(plan.batch_size * plan.world_size), plan.world_size)
        if left:
            raise ValueError(f"mixed batches: {behind * plan.world_size + left} pairs for {plan.world_size} ranks")
        parts = (
            first(plan.resized(plan.batch_size - behind, plan.seed)),
            second(plan.resized(behind, plan.seed + SECOND_SEED)),
        )
        return (Pairs.concatenate(list(both)) for both in zip(*parts, strict=True))

    return batches
