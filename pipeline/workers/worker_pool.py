"""A few worker processes that survive each other: a task that hangs is ended, one that kills its process is named.

The standard pools give up on the first worker that dies; one poisoned video must not stop a corpus. (loky was not tried.)
Pebble's does what is asked here but for one thing: its workers share one pipe, so that one which the kernel ends in the middle of
its answer leaves all others waiting for the rest (tests/pipeline/workers, `half_an_answer`: Pebble 5.2.3 had not ended after
100 s). Here each worker has a pipe of its own.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of one task: a result, or the reason why there is none."""

    task: Task
    result: Result | None
    failure: str | None = None
    """timed_out, worker_died or worker_failed."""
    detail: str | None = None


class _Worker:
    """One process with a pipe; it has at most one task at a time."""

    def __init__(self, start: Callable[[], Callable[[Any], Any]], memory_gb: float | None) -> None:
        context = multiprocessing.get_context("spawn")  # a forked LiteRT or OpenCV may hold a lock for ever
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, start, memory_gb), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Any = None
        self.deadline = 0.0

    def give(self, task: Any, timeout_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + timeout_s
        self.pipe.send(task)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_tasks(
    start: Callable[[], Callable[[Task], Result]],
    tasks: Iterable[Task],
    *,
    num_workers: int,
    timeout_s: float,
    memory_gb: float | None = None,
) -> Iterator[Outcome[Task, Result]]:
    """Outcomes as they come. `start` runs once in each new process and returns the function that does a task.

    memory_gb: address space of a process; a task that wants more fails, and the machine does not suffer.

    `start`, tasks and results must be picklable. An exception in a task is an outcome, not an end.
    """
    waiting = list(tasks)[::-1]
    workers = [_Worker(start, memory_gb) for _ in range(min(num_workers, len(waiting)))]
    try:
        for worker in workers:
            worker.give(waiting.pop(), timeout_s)
        while busy := [worker for worker in workers if worker.task is not None]:
            nearest = min(worker.deadline for worker in busy)
            ready = wait([worker.pipe for worker in busy], timeout=max(0.0, nearest - time.monotonic()))
            for worker in busy:
                outcome = _collect(worker, worker.pipe in ready, timeout_s)
                if outcome is None:
                    continue
                worker.task = None
                if outcome.failure in ("timed_out", "worker_died"):
                    worker.end()
                    workers.remove(worker)
                    if waiting:
                        worker = _Worker(start, memory_gb)
                        workers.append(worker)
                if waiting:
                    worker.give(waiting.pop(), timeout_s)
                yield outcome
    finally:
        for worker in workers:
            worker.end()


def _collect(worker: _Worker, is_ready: bool, timeout_s: float) -> Outcome[Any, Any] | None:
    """The outcome of a worker's task, or None while it still works."""
    if is_ready:
        try:
            result, failure = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            return Outcome(worker.task, None, "worker_died", f"exit code {worker.process.exitcode}")
        if failure is not None:
            return Outcome(worker.task, None, "worker_failed", failure)
        return Outcome(worker.task, result)
    if time.monotonic() >= worker.deadline:
        return Outcome(worker.task, None, "timed_out", f"no result after {timeout_s:g} s")
    return None


def _serve(pipe: Connection, start: Callable[[], Callable[[Any], Any]], memory_gb: float | None) -> None:
    if memory_gb is not None and sys.platform == "linux":  # elsewhere the limit is not kept
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory_gb * 1e9),) * 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    do = start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = (do(task), None)
        except Exception as error:
            answer = (None, f"{type(error).__name__}: {' '.join(str(error).split())}")
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return
