"""Joining a Ray cluster, or starting one on this machine for as long as a stage runs."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pipeline.run.settings import StageError
from pipeline.workers.local_ray import start_local_ray

CONNECT_S = 10.0
JOIN_S = 45.0
"""Ray itself tries for minutes to reach a cluster that is not there."""


@contextmanager
def ray_cluster(address: str | None, num_cpus: int, field: str) -> Iterator[None]:
    """Joins the cluster at an address; None starts one of `num_cpus` for the time of the block, for this machine alone.

    field: the setting that holds the address. Raises StageError naming it where no cluster answers, and as start_local_ray does.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # four seconds: only those who use it wait for it

    if address is None:
        start_local_ray(num_cpus)
    else:
        where = f"params.yaml: {field}: {address}"
        require_listener(address, where)
        with ended_if_silent(where):
            try:
                ray.init(address=address, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                said = " ".join(str(error).split())[:200]
                raise StageError(f"{where}: no Ray cluster there ({said}); {REMEDY}") from None
    try:
        yield
    finally:
        ray.shutdown()


REMEDY = "start one with 'ray start --head', or set it to null to start Ray for this stage alone"


def require_listener(address: str, where: str) -> None:
    """Raises StageError, within seconds, when nothing listens at host:port; `auto` and others without a port pass."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise StageError(f"{where}: not an address (expected HOST:PORT, ray://HOST:PORT or auto)") from None
    if host is None or port is None:
        return
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        raise StageError(f"{where}: nothing answers there ({error.strerror or error}); {REMEDY}") from None


@contextmanager
def ended_if_silent(where: str) -> Iterator[None]:
    """Ends this process with one line when the block takes longer than JOIN_S: what waits inside Ray hears no exception."""

    def end() -> None:
        print(f"error: {where}: answers, but not as a Ray cluster within {JOIN_S:g} s; {REMEDY}", file=sys.stderr, flush=True)
        os._exit(2)

    timer = threading.Timer(JOIN_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
