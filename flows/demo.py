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
from pipeline.metrics import OVERALL, ErrorSummary, Metrics, read_metrics
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


def methods_of(metrics: Metrics) -> dict[str, dict[str, ErrorSummary]]:
    """What is compared, from what knows nobody to what was trained last. The model is `adapted` where it began from another."""
    trained = "trained" if metrics.adaptation is None else "adapted"
    return {"mean head": metrics.mean_head, **metrics.others, trained: metrics.model}


def metrics_table(metrics: Metrics) -> Table:
    """Errors in millimetres: a row a method; medians by challenge, and all three figures overall."""
    table = Table(title=f"NoW error on {metrics.benchmark.folder} (mm, lower is better)", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in metrics.challenges:
        # A word a line, so that the table fits a narrow terminal.
        words = name.replace("_", "\n")
        table.add_column(f"{words}\n{metrics.model[name].images} images\nmedian", justify="right", no_wrap=True)
        for figure in ("mean", "std") if name == OVERALL else ():
            table.add_column(figure, justify="right", no_wrap=True)
    for method, errors in methods_of(metrics).items():
        row = [method]
        for name in metrics.challenges:
            found = errors[name]
            values = (found.median_mm, found.mean_mm, found.std_mm) if name == OVERALL else (found.median_mm,)
            row += [f"{value:.3f}" for value in values]
        table.add_row(*row)
    return table


def verdict(metrics: Metrics) -> str:
    """What the demo is about: who beats whom, by how much, and what adapting did."""
    medians = {name: errors[OVERALL].median_mm for name, errors in methods_of(metrics).items()}
    (_, baseline), *others = medians.items()
    said = [f"{_compared(name, median, baseline, 'the mean head')}." for name, median in others]
    if metrics.adaptation is not None:
        start = metrics.adaptation.start_name
        if start in medians:
            said.append(f"{_compared('adapted', medians['adapted'], medians[start], start)}.")
        said.append(metrics.adaptation.sentence())
    return " ".join(said)


def _compared(name: str, median: float, other: float, other_name: str) -> str:
    """Medians are shown to a micrometre, so they are compared as shown."""
    change = 100 * (round(median, 3) / round(other, 3) - 1)
    if change == 0:
        return f"{name.capitalize()}: the same median error as {other_name}"
    return f"{name.capitalize()}: median error {abs(change):.1f} % {'below' if change < 0 else 'above'} that of {other_name}"


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
