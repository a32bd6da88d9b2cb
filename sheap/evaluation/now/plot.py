"""The cumulative error plot of NoW: percent of scan vertices within an error, for several methods or challenges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from sheap.evaluation.now.results import CURVE_MM
from sheap.files import whole_file


def plot_cumulative_curves(path: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Writes the curves (percent at every level of CURVE_MM) as a picture of the kind that `path` ends in."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xlim=(0, 8), ylim=(0, 100), xlabel="Error [mm]", ylabel="Percent of scan vertices", yticks=range(0, 101, 20)
    )
    for name, percent in curves.items():
        axes.plot(CURVE_MM, percent, label=name.replace("_", " "))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with whole_file(path) as file:
        figure.savefig(file, dpi=120, format=path.suffix.removeprefix("."))
