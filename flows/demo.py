"""`make demo`: the whole flow without a server to start, then the metrics and where the report lies.

    python -m flows.demo [--corpus FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.commands import run_on_leash

METRICS_FILE = Path("data/evaluation/metrics.json")
REPORT_FILE = Path("data/report/report.html")


def use_embedded_server(project: Path) -> None:
    """Prefect's settings for a run that needs no server, sends nothing and keeps its files inside the project.

    PREFECT_API_URL is unset, not emptied: an empty one breaks events.
    """
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["PREFECT_HOME"] = str(project / ".prefect")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


def metrics_table(metrics: dict) -> Table:
    return Table()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", metavar="FOLDER", help="train on this folder of videos")
    corpus = parser.parse_args(arguments).corpus
    use_embedded_server(Path.cwd())
    # On a leash of its own: Prefect's temporary server would outlive a flow that is killed.
    command = [sys.executable, "-m", "flows.train_sheap", *(["--corpus", corpus] if corpus else [])]
    try:
        code = run_on_leash(command, Path.cwd())
    except KeyboardInterrupt:
        print("train-sheap: interrupted; the next run goes on where this one stopped", file=sys.stderr)
        return 130
    if code:
        return code
    print_results(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
