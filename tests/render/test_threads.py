"""Kernels on torch's number of threads."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from sheap.render.threads import for_each_range, split_range


@pytest.fixture(params=[1, 2, 3])
def num_threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "parts"), [(0, 3), (1, 3), (2, 3), (3, 3), (10, 3), (1000, 7), (5, 1)])
def test_split_covers_everything_once(count: int, parts: int):
    ranges = split_range(count, parts)
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(count))
    assert len(ranges) <= parts and all(start < stop for start, stop in ranges)


def test_every_item_is_done_once(num_threads: int):
    done = [0] * 101
    threads = set()

    def work(start: int, stop: int) -> None:
        threads.add(threading.get_ident())
        for i in range(start, stop):
            done[i] += 1

    for_each_range(work, 101)
    assert done == [1] * 101
    assert (threading.get_ident() in threads) == (num_threads == 1)
    for_each_range(work, 0)
    assert sum(done) == 101


def test_exceptions_reach_the_caller(num_threads: int):
    def work(start: int, stop: int) -> None:
        raise ZeroDivisionError(f"{start}")

    with pytest.raises(ZeroDivisionError):
        for_each_range(work, 10)


def test_works_in_a_forked_child():
    """A data loader's worker is a fork: the parent's threads do not exist there."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for_each_range(lambda start, stop: None, 10)
        child = os.fork()
        if child == 0:
            done = []
            for_each_range(lambda start, stop: done.append(stop - start), 10)
            os._exit(0 if sum(done) == 10 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(before)
