"""`prefect` in the project's folder, as people type it: nothing sourced, bare deployment names, a missing server in one line."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from flows import prefect_plugin
from flows.prefect_plugin import NameNotResolved, environment, full_name, with_bare_names
from tests.flows.stand_in_project import REPOSITORY


class Client:
    """Of a Prefect client what the hook uses."""

    api_url = "http://127.0.0.1:1/api/"

    def __init__(self, *names: str) -> None:
        self._names = [name.split("/") for name in names]

    async def read_deployments(self) -> list[Any]:
        return [SimpleNamespace(name=name, flow_id=flow) for flow, name in self._names]

    async def read_flow(self, flow_id: str) -> Any:
        return SimpleNamespace(name=flow_id)


def test_a_bare_name_is_the_one_deployment_that_bears_it() -> None:
    client = Client("train-sheap/train-sheap", "retrain/nightly", "train-sheap/nightly")
    assert asyncio.run(full_name(client, "train-sheap")) == "train-sheap/train-sheap"
    with pytest.raises(NameNotResolved, match=r"several deployments are called 'nightly': retrain/nightly, train-sheap/nightly;"):
        asyncio.run(full_name(client, "nightly"))
    with pytest.raises(NameNotResolved, match="no deployment is called 'train'; there are retrain/nightly, train-sheap/"):
        asyncio.run(full_name(client, "train"))
    with pytest.raises(NameNotResolved, match=r"there are none; infra/prefect/deploy\.sh makes them"):
        asyncio.run(full_name(Client(), "train-sheap"))


def test_full_names_are_read_as_ever_and_errors_stay_errors_outside_of_the_command_line() -> None:
    asked = []

    async def read(client: Any, name: str) -> Any:
        asked.append(name)
        if name == "down/down":
            raise httpx.ConnectError("refused")

    wrapped = with_bare_names(read)
    for name in ("a/b", "train-sheap"):
        asyncio.run(wrapped(Client("train-sheap/train-sheap"), name))
    assert asked == ["a/b", "train-sheap/train-sheap"]
    with pytest.raises(httpx.ConnectError):
        asyncio.run(wrapped(Client(), "down/down"))
    with pytest.raises(NameNotResolved):
        asyncio.run(wrapped(Client(), "nobody"))


def test_settings_are_the_projects_only_where_the_user_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(prefect_plugin, "is_command_line", lambda: True)
    found = environment(tmp_path, has_server=False)
    assert found["PREFECT_HOME"] == str(tmp_path / ".prefect") and found["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert "PREFECT_API_URL" not in environment(tmp_path, has_server=True)
    monkeypatch.setenv("PREFECT_HOME", "mine")
    assert "PREFECT_HOME" not in environment(tmp_path, has_server=True)
    monkeypatch.setattr(prefect_plugin, "is_command_line", lambda: False)
    assert "PREFECT_API_URL" not in environment(tmp_path, has_server=False), "the demo's server is a temporary one"


def prefect_in_a_clean_shell(folder: Path, *arguments: str, api_url: str) -> subprocess.CompletedProcess[str]:
    """The command in a folder with the project's pyproject.toml, installed as that says."""
    pyproject = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    shutil.copyfile(REPOSITORY / "pyproject.toml", folder / "pyproject.toml")
    metadata = folder / "installed" / "sheap_in_test-0.dist-info"
    metadata.mkdir(parents=True)
    [(name, target)] = pyproject["project"]["entry-points"]["prefect.plugins"].items()
    if not any(point.name == name for point in entry_points(group="prefect.plugins")):  # Prefect refuses a plugin told twice
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sheap-in-test\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text(f"[prefect.plugins]\n{name} = {target}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    clean |= {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{metadata.parent}", "PREFECT_API_URL": api_url}
    command = [str(Path(sys.executable).with_name("prefect")), *arguments]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=200)


def test_a_missing_server_is_one_line_that_says_how_to_start_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
    done = prefect_in_a_clean_shell(tmp_path, "deployment", "run", "train-sheap", api_url=url)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        f"prefect: no Prefect server answers at {url}; start one here with 'prefect server start' (infra/README.md), or name "
        "yours in PREFECT_API_URL\n"
    )


def test_the_line_as_it_is_typed_starts_a_run(prefect_server: None, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("train-sheap")
        deployment_id = client.create_deployment(flow_id, "train-sheap")
        done = prefect_in_a_clean_shell(tmp_path, "deployment", "run", "train-sheap", api_url=str(client.api_url))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Creating flow run for deployment 'train-sheap/train-sheap'" in done.stdout
        runs = client.read_flow_runs()
    assert [run.flow_id for run in runs if run.deployment_id == deployment_id] == [flow_id]
