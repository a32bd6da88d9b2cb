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

METRICS_FILE = Path("data/evaluation/metrics.json")
REPORT_FILE = Path("data/report/report.html")


def use_embedded_server(project: Path) -> None:
    """Prefect's settings for a run that needs no server, sends nothing and keeps its files inside the project.

    Must come before Prefect is imported. PREFECT_API_URL is unset, not emptied: an empty one breaks events.
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
    from flows.train_sheap import train_sheap

    state = train_sheap(corpus, return_state=True)
    if not state.is_completed():
        print(f"train-sheap: {state.message}", file=sys.stderr)
        return 1
    print_results(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
