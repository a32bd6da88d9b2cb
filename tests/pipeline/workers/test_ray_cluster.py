"""A Ray cluster that is not there ends a stage soon and in one line."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from pipeline.run.settings import StageError
from pipeline.workers.ray_cluster import require_listener

JOIN = """
import pipeline.workers.ray_cluster as module
module.JOIN_S = 3.0
with module.ray_cluster({address!r}, 1, "train.workers.ray_address"):
    print("joined")
"""


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_named_at_once(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{closed_port()}"
    with pytest.raises(StageError) as caught:
        require_listener(address, f"params.yaml: train.workers.ray_address: {address}")
    message = str(caught.value)
    assert message.startswith(f"params.yaml: train.workers.ray_address: {address}: nothing answers there")
    assert "ray start --head" in message and "\n" not in message


def test_what_is_no_address_is_named_and_ray_finds_its_own() -> None:
    require_listener("auto", "params.yaml: ingest.ray_address: auto")
    with pytest.raises(StageError, match=r"not an address \(expected HOST:PORT"):
        require_listener("cluster:many", "params.yaml: ingest.ray_address: cluster:many")


@pytest.mark.slow
def test_something_else_that_listens_ends_the_stage_in_one_line() -> None:
    """Ray 2.60 itself waits for minutes."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", JOIN.format(address=address)], capture_output=True, text=True, timeout=200
        )
    assert done.returncode == 2 and "joined" not in done.stdout and time.monotonic() - started < 100
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: params.yaml: train.workers.ray_address: {address}: answers, but not as a Ray cluster")
