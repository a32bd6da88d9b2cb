"""Run compiled kernels (numba, `nogil=True`) on as many threads as torch uses.

A pool of our own and not numba's `parallel=True`: its default threading layer aborts the process when two Python
threads enter it at once (torch runs backward passes in threads of its own), and parallel kernels compile several times
slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch

_pools: dict[int, ThreadPoolExecutor] = {}
_pools_lock = Lock()


def _forget_pools() -> None:
    """A forked child inherits pools whose threads do not exist: it must make its own."""
    global _pools_lock
    _pools.clear()
    _pools_lock = Lock()


os.register_at_fork(after_in_child=_forget_pools)


def _pool(num_threads: int) -> ThreadPoolExecutor:
    with _pools_lock:
        if num_threads not in _pools:
            _pools[num_threads] = ThreadPoolExecutor(num_threads, thread_name_prefix="sheap-render")
        return _pools[num_threads]


def split_range(count: int, num_parts: int) -> list[tuple[int, int]]:
    """[0, count) as at most `num_parts` consecutive, non-empty (start, stop) of nearly equal length."""
    num_parts = max(1, min(count, num_parts))
    return [(count * i // num_parts, count * (i + 1) // num_parts) for i in range(num_parts)] if count else []


def for_each_range(work: Callable[[int, int], None], count: int, *, ranges_per_thread: int = 8) -> None:
    """Call `work(start, stop)` over [0, count), on torch's number of threads, and wait.

    Several ranges a thread, so that a thread with cheap ranges takes more of them. What a range computes must not
    depend on how the count was split. The first exception of `work` is raised here.
    """
    num_threads = min(torch.get_num_threads(), count)
    if num_threads <= 1:
        if count:
            work(0, count)
        return
    ranges = split_range(count, num_threads * ranges_per_thread)
    list(_pool(num_threads).map(lambda bounds: work(*bounds), ranges))
