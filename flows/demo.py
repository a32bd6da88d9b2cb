"""`make demo`: the whole flow without a server to start, then the metrics and where the report lies.

    python -m flows.demo [--corpus FOLDER]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rich.table import Table

from flows.commands import run_on_leash
from pipeline.metrics import OVERALL, Metrics, read_metrics
from pipeline.reporting.terminal import print_table

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
    # It takes 12 to 25 s on two idle cores; Prefect's own limit of 20 s is too short for a cold or busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "600")


def metrics_table(metrics: Metrics) -> Table:
    """Errors in millimetres: the trained model's, the mean head's, and those of what training began from."""
    methods = {"model": metrics.model, "mean head": metrics.mean_head, **metrics.others}
    table = Table(title=f"NoW error on {metrics.benchmark.folder} (mm, lower is better)", title_justify="left")
    table.add_column("challenge", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for method in methods:
        for figure in ("median", "mean", "std"):
            table.add_column(f"{method}\n{figure}", justify="right", no_wrap=True)
    for name in metrics.challenges:
        row = [name.replace("_", " "), str(metrics.model[name].images)]
        for errors in (errors_of[name] for errors_of in methods.values()):
            row += [f"{value:.3f}" for value in (errors.median_mm, errors.mean_mm, errors.std_mm)]
        table.add_row(*row, end_section=name == OVERALL)
    return table


def verdict(metrics: Metrics) -> str:
    """The one sentence that the demo is about."""
    ours, baseline = metrics.model[OVERALL].median_mm, metrics.mean_head[OVERALL].median_mm
    if ours >= baseline:
        return "The model does not beat the mean head on this benchmark."
    said = f"The model's median error is {100 * (1 - ours / baseline):.1f} % below the mean head's."
    for name, errors in metrics.others.items():
        change = errors[OVERALL].median_mm - ours
        said += f" That is {abs(change):.3f} mm {'better' if change > 0 else 'worse'} than {name}, which it began from."
    return said


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", metavar="FOLDER", help="train on this folder of videos")
    corpus = parser.parse_args(arguments).corpus
    if corpus is not None:
        # Told here and not by the stage that lists the videos: a server takes half a minute to start, rendering minutes.
        checked = subprocess.run([sys.executable, "-m", "pipeline.commands.own_corpus", "--check", corpus])
        if checked.returncode:
            return checked.returncode
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
    metrics = read_metrics(METRICS_FILE)
    print_table(metrics_table(metrics))
    print(verdict(metrics))
    print(f"Report: {REPORT_FILE.absolute()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
