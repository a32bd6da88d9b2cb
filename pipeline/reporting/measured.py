"""What was measured, as the report shows it: every registered measure's tables and plots, none known by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup

from pipeline.reporting.charts import BASELINE, MODEL, THIRD, Line, line_chart
from pipeline.reporting.part import Part
from sheap.evaluation.measures.base import MEAN_HEAD, Measure, Plot, Table, words
from sheap.evaluation.measures.base import MODEL as MODEL_NAME

_COLORS = {MODEL_NAME: MODEL, MEAN_HEAD: BASELINE}
_STYLES = {MODEL_NAME: "model", MEAN_HEAD: "baseline"}

Shown = TypeVar("Shown")


@dataclass(frozen=True)
class Measured:
    """One measure on the page."""

    name: str
    tables: Part[list[Table]]
    plots: Part[list[tuple[Plot, Markup]]]


def show_measures(measures: Sequence[Measure[Any]], metrics: Mapping[str, Any], folder: Path) -> list[Measured]:
    """The measures whose figures are in metrics.json, in their order. folder: where the evaluate stage wrote."""
    shown = []
    for measure in measures:
        tables = Part.of(measure.name, _checked(measure, lambda m=measure: m.tables(metrics)), "")
        if tables.content is None and not tables.reason:
            continue
        plots = Part.of(f"{measure.name}: plots", _checked(measure, lambda m=measure: _drawn(m.plots(metrics, folder))), "")
        shown.append(Measured(measure.name, tables, plots))
    return shown


def style_of(method: str | None) -> str:
    """The page's CSS class of a method."""
    return "" if method is None else _STYLES.get(method, "third")


def widest_bar(table: Table) -> float:
    """The longest bar of a table, which fills its cell."""
    return max((length for row in table.rows for length in row.bars.values()), default=0.0)


def _drawn(plots: Sequence[Plot]) -> list[tuple[Plot, Markup]]:
    return [(plot, Markup(_chart(plot))) for plot in plots]


def _chart(plot: Plot) -> str:
    lines = [
        Line(
            words(line.method), line.x, line.y, _COLORS.get(line.method, THIRD),
            is_dashed=line.method != MODEL_NAME, marker=line.marker,
        )
        for line in plot.lines
    ]  # fmt: skip
    return line_chart(plot.title, lines, plot.x_label, plot.y_label, plot.y_limit)


def _checked(measure: Measure[Any], make: Callable[[], Shown]) -> Callable[[], Shown]:
    """`make`, with figures of another form than the measure's told as such."""

    def checked() -> Shown:
        try:
            return make()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{measure.name}: not figures of this measure ({type(error).__name__}: {error})") from None

    return checked
