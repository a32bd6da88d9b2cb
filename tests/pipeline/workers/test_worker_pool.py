from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest

from pipeline.workers.worker_pool import run_tasks


def start() -> Callable[[str], str]:
    return do


def do(task: str) -> str:
    if task == "raise":
        raise ValueError("two\nlines")
    if task == "die":
        os._exit(7)
    if task == "explode":
        return bytes(3_000_000_000)[:1].decode()
    if task == "cut":
        cut_the_answer()
    if task == "hang":
        time.sleep(60)
    return task.upper()


def cut_the_answer() -> None:
    """Makes this process die with half of its next message sent, as when the kernel ends it."""
    whole = Connection._send

    def half(self: Connection, content: bytes, *rest: object) -> None:
        whole(self, bytes(content)[: len(content) // 2])
        os._exit(9)

    Connection._send = half  # type: ignore[method-assign]


def start_and_die() -> Callable[[str], str]:
    os._exit(3)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_task_has_an_outcome_whatever_it_does(num_workers):
    tasks = ["a", "raise", "b", "die", "c", "hang", "d"]
    began = time.monotonic()
    outcomes = {o.task: o for o in run_tasks(start, tasks, num_workers=num_workers, timeout_s=8)}
    assert time.monotonic() - began < 50
    assert set(outcomes) == set(tasks)
    assert {task: outcomes[task].result for task in "abcd"} == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert (outcomes["raise"].failure, outcomes["raise"].detail) == ("worker_failed", "ValueError: two lines")
    assert (outcomes["die"].failure, outcomes["die"].detail) == ("worker_died", "exit code 7")
    assert outcomes["hang"].failure == "timed_out" and outcomes["hang"].result is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
def test_a_task_that_wants_too_much_memory_fails_alone():
    outcomes = {o.task: o for o in run_tasks(start, ["explode", "a"], num_workers=1, timeout_s=30, memory_gb=2)}
    assert outcomes["explode"].failure == "worker_failed" and outcomes["explode"].detail.startswith("MemoryError")
    assert outcomes["a"].result == "A"


def test_a_worker_that_cannot_start_is_an_outcome_too():
    outcomes = list(run_tasks(start_and_die, ["a", "b"], num_workers=1, timeout_s=30))
    assert [o.failure for o in outcomes] == ["worker_died", "worker_died"]


def test_half_an_answer_disturbs_nobody_else():
    outcomes = {o.task: o for o in run_tasks(start, ["a", "cut", "b", "c"], num_workers=2, timeout_s=20)}
    assert (outcomes["cut"].failure, outcomes["cut"].detail) == ("worker_died", "exit code 9")
    assert [outcomes[task].result for task in "abc"] == ["A", "B", "C"]


def test_no_tasks_start_no_workers():
    assert list(run_tasks(start, [], num_workers=2, timeout_s=1)) == []


def test_leaving_early_ends_the_workers():
    outcomes = run_tasks(start, ["a", "hang", "hang"], num_workers=2, timeout_s=60)
    assert next(outcomes).result == "A"
    began = time.monotonic()
    outcomes.close()
    assert time.monotonic() - began < 5
