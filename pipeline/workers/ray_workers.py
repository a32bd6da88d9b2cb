"""The same as pipeline.workers.worker_pool on a Ray cluster: every worker is an actor that loads its models once.

Videos, the work folder and the project must be at the same paths on every machine of the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from pipeline.workers.worker_pool import Outcome, Result, Task


class _Worker:
    def __init__(self, start: Callable[[], Callable[[Any], Any]]) -> None:
        self._do = start()

    def do(self, task: Any) -> Any:
        return self._do(task)


_Actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Worker)


def run_ray_tasks(
    start: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task], *, num_workers: int, timeout_s: float
) -> Iterator[Outcome[Task, Result]]:
    """Outcomes as they come, from a cluster that was joined (pipeline.workers.ray_cluster).

    num_workers: 0 takes as many as the cluster has processors. As in pipeline.workers.worker_pool, an exception in a task is an
    outcome, a task that hangs is ended with its worker, and one that kills its worker is named. A task's time also runs
    while its worker waits for a place in a full cluster.
    """
    waiting = list(tasks)[::-1]
    num_workers = num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    idle = [_Actor.remote(start) for _ in range(min(num_workers, len(waiting)))]
    busy: dict[ray.ObjectRef, tuple[Any, Task, float]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                actor, task = idle.pop(), waiting.pop()
                busy[actor.do.remote(task)] = (actor, task, time.monotonic() + timeout_s)
            nearest = min(deadline for _, _, deadline in busy.values())
            ready, _ = ray.wait(list(busy), timeout=max(0.0, nearest - time.monotonic()))
            late = [ref for ref, (_, _, deadline) in busy.items() if deadline <= time.monotonic()]
            for ref in dict.fromkeys([*ready, *late]):
                actor, task, _ = busy.pop(ref)
                outcome = _collect(ref, task, timeout_s) if ref in ready else _late(task, timeout_s)
                if outcome.failure in ("timed_out", "worker_died"):
                    ray.kill(actor)
                    actor = _Actor.remote(start)
                idle.append(actor)
                yield outcome
    finally:
        for actor in [*idle, *(actor for actor, _, _ in busy.values())]:
            ray.kill(actor)


def _collect(ref: ray.ObjectRef, task: Task, timeout_s: float) -> Outcome[Task, Any]:
    try:
        return Outcome(task, ray.get(ref))
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        return Outcome(task, None, "worker_failed", f"{type(cause).__name__}: {' '.join(str(cause).split())}")
    except ray.exceptions.RayActorError as error:
        return Outcome(task, None, "worker_died", " ".join(str(error).split())[:200])


def _late(task: Task, timeout_s: float) -> Outcome[Task, Any]:
    return Outcome(task, None, "timed_out", f"no result after {timeout_s:g} s")
