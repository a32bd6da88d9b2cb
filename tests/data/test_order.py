"""Which sample comes when, against the definition written out; every bound from both sides."""

from __future__ import annotations

import numpy as np
import pytest

from sheap.data.order import CursorBatchSampler, epoch_order


@pytest.mark.parametrize("cursor", [0, 6, 13])
@pytest.mark.parametrize(("batch_size", "rank", "world_size"), [(4, 0, 1), (2, 1, 2), (1, 2, 3)])
def test_batches_are_every_nth_position_from_the_cursor(cursor: int, batch_size: int, rank: int, world_size: int) -> None:
    expected, position = [], cursor
    while position + batch_size * world_size <= 31:
        expected.append([position + rank + world_size * place for place in range(batch_size)])
        position += batch_size * world_size
    sampler = CursorBatchSampler(31, batch_size=batch_size, cursor=cursor, rank=rank, world_size=world_size)
    assert list(sampler) == expected and len(sampler) == len(expected) > 0
    assert list(sampler) == expected, "a second time too"


def test_arrangements_at_the_bounds() -> None:
    assert list(CursorBatchSampler(8, batch_size=1, cursor=8)) == []
    assert list(CursorBatchSampler(8, batch_size=8)) == [list(range(8))]
    assert list(CursorBatchSampler(2, batch_size=1, rank=1, world_size=2)) == [[1]]
    for bad in (
        {"batch_size": 0}, {"batch_size": 1, "world_size": 0}, {"batch_size": 1, "rank": 2, "world_size": 2},
        {"batch_size": 1, "rank": -1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="not a valid arrangement"):
            CursorBatchSampler(8, **bad)
    for cursor in (-1, 9):
        with pytest.raises(ValueError, match=f"cursor: expected 0 to 8, got {cursor}"):
            CursorBatchSampler(8, batch_size=1, cursor=cursor)


def test_epochs_and_seeds_are_all_different_orders_of_everything() -> None:
    orders = {(seed, epoch): tuple(epoch_order(40, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) == 16
    assert all(sorted(order) == list(range(40)) for order in orders.values())
    assert np.array_equal(epoch_order(40, 3, 2), orders[3, 2])


def test_the_order_is_that_of_earlier_versions() -> None:
    """A checkpoint's cursor means nothing under another order."""
    assert epoch_order(8, 1, 2).tolist() == [2, 7, 5, 3, 0, 4, 1, 6]
