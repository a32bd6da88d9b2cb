"""What `prefect` does differently in this project's folder, so that people type what they would: no setup, bare deployment names.

Prefect loads it at `import prefect`: an entry point of the group `prefect.plugins`, switched on by `[tool.prefect]` in
pyproject.toml, which Prefect reads in the current folder alone. Elsewhere `prefect` is as it always was.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from prefect.plugins import HookContext, SetupResult, register_hook

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

LOCAL_SERVER = "http://127.0.0.1:4200/api"
"""Where `prefect server start` listens; asked for by commands when nothing names another server."""

Read = Callable[[Any, str], Awaitable["DeploymentResponse"]]


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult:
    """Prefect's own door for settings: those of this project, each only where the user has set none."""
    from prefect.client.orchestration import PrefectClient

    read = PrefectClient.read_deployment_by_name
    if not hasattr(read, "takes_bare_names"):
        PrefectClient.read_deployment_by_name = with_bare_names(read)  # type: ignore[method-assign]
    return SetupResult(env=environment(Path.cwd(), has_server=ctx.api_url is not None))


def environment(project: Path, *, has_server: bool) -> dict[str, str]:
    """The settings that server, worker and command line share, less those that are set already."""
    wanted = {
        "PREFECT_HOME": str(project / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Runs report every 30 s; infra/prefect/crash_silent_runs.yaml marks those that fell silent, which frees their slot.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # A flow whose server is away tries again after 2, 4, ... 256 s, eight minutes in all; Prefect's own five tries last one.
        "PREFECT_CLIENT_MAX_RETRIES": "8",
    }
    if is_command_line() and not has_server:
        # Without one, Prefect would start a temporary server, empty, for this one command.
        wanted["PREFECT_API_URL"] = LOCAL_SERVER
    return {name: value for name, value in wanted.items() if name not in os.environ}


def is_command_line() -> bool:
    """Whether this process is the command `prefect`, by its script or as `python -m prefect`."""
    return Path(sys.argv[0]).name in ("prefect", "prefect.exe") or sys.orig_argv[1:3] == ["-m", "prefect"]


def with_bare_names(read: Read) -> Read:
    """`read` for names without a flow too: `train-sheap` is the deployment of that name, if there is exactly one."""

    @functools.wraps(read)
    async def read_deployment(client: Any, name: str) -> DeploymentResponse:
        import httpx

        try:
            return await read(client, name if "/" in name else await full_name(client, name))
        except httpx.ConnectError:
            if not is_command_line():
                raise
            address = str(client.api_url).rstrip("/")
            end(
                f"no Prefect server answers at {address}; start one here with 'prefect server start' (infra/README.md), or name "
                "yours in PREFECT_API_URL"
            )
        except NameNotResolved as error:
            if not is_command_line():
                raise
            end(str(error))

    read_deployment.takes_bare_names = True  # type: ignore[attr-defined]
    return read_deployment


class NameNotResolved(ValueError):
    """No deployment, or several, bear a name."""


async def full_name(client: Any, name: str) -> str:
    """FLOW/NAME of the one deployment called `name`. Raises NameNotResolved, one line, where there is not exactly one."""
    deployments = await client.read_deployments()
    flows = {flow_id: (await client.read_flow(flow_id)).name for flow_id in {item.flow_id for item in deployments}}
    known = sorted(f"{flows[item.flow_id]}/{item.name}" for item in deployments)
    found = [known_name for known_name in known if known_name.partition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise NameNotResolved(f"several deployments are called '{name}': {', '.join(found)}; name one of them")
    there = f"there are {', '.join(known)}" if known else "there are none; infra/prefect/deploy.sh makes them"
    raise NameNotResolved(f"no deployment is called '{name}'; {there}")


def end(message: str) -> NoReturn:
    """One line on stderr and exit code 1, as Prefect's own commands end."""
    print(f"prefect: {message}", file=sys.stderr)
    raise SystemExit(1)
