"""The report's charts as inline SVG that takes its colours from the page, so that they suit light and dark alike."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# Colours that stand for the page's CSS variables until the SVG is done. Matplotlib writes them in lower case.
TEXT, GRID, MODEL, BASELINE, THIRD = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {TEXT: "--text", GRID: "--line", MODEL: "--model", BASELINE: "--baseline", THIRD: "--third"}

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "axes.edgecolor": GRID,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "text.color": TEXT,
    "legend.frameon": False,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Line:
    """One line of a chart: name, points, one of this module's colours, dashed or not; marker: an x to be marked."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    is_dashed: bool = False
    marker: float | None = None


def line_chart(title: str, lines: Sequence[Line], x_label: str, y_label: str, y_limit: float | None = None) -> str:
    """Lines from the origin on; their markers are dotted vertical lines. y_limit: the upper end, where it is fixed."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(6.4, 4.0)
        figure.subplots_adjust(left=0.1, right=0.98, top=0.97, bottom=0.13)
        for line in lines:
            axes.plot(line.x, line.y, color=line.color, linestyle="--" if line.is_dashed else "-", label=line.name)
            if line.marker is not None:
                axes.axvline(line.marker, color=line.color, linewidth=0.8, linestyle=":")
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, y_limit), xlim=(0, None))
        axes.legend(loc="lower right")
        return _svg(figure, title)


def history_chart(title: str, lines: Sequence[Line], phase_end: float | None, *, is_log: bool) -> str:
    """One quantity over the training steps. phase_end: where the landmark phase gave way to the rendered one."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(3.2, 2.1)
        # Fixed margins: measuring them would draw each of some twenty charts twice.
        figure.subplots_adjust(left=0.18, right=0.98, top=0.88, bottom=0.13)
        axes.set_title(title, loc="left")
        for line in lines:
            marker = "o" if len(line.x) == 1 else None
            axes.plot(
                line.x, line.y, color=line.color, linestyle="--" if line.is_dashed else "-", linewidth=1.2,
                marker=marker, markersize=3, label=line.name,
            )  # fmt: skip
        if phase_end is not None:
            axes.axvline(phase_end, color=TEXT, linewidth=0.6, linestyle=":")
        if is_log and all(value > 0 for line in lines for value in line.y):
            axes.set_yscale("log")
            # Plain numbers: Matplotlib's own powers of ten are formulas, which an SVG with real text cannot hold.
            is_wide = max(max(line.y) for line in lines) > 20 * min(min(line.y) for line in lines)
            axes.yaxis.set_major_locator(LogLocator(numticks=4) if is_wide else MaxNLocator(4))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.tick_params(labelsize=8)
        return _svg(figure, title)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _svg(figure: Figure, label: str) -> str:
    """The figure as an <svg> element without fixed size, its placeholder colours replaced by CSS variables."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Title": label})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    # Matplotlib names its own sans-serif fonts first; the page's font reads better beside the text.
    return re.sub(r"font: (\d+(?:\.\d+)?px)[^;\"]*", r"font: \1 var(--font)", svg)
