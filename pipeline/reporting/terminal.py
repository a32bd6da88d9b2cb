"""Tables on a terminal, in a log or a pipe: figures whole, whatever room there is."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

LEAST_NAME = 12
"""Characters that a row's name keeps where the terminal is narrow."""


def print_table(table: Table, file: TextIO | None = None) -> None:
    """Prints a table of names (first column) and figures.

    On a narrow terminal names shorten first; where that is not enough, lines are longer than it is wide. A pipe or a file gets
    everything.
    """
    file = file or sys.stdout
    terminal = Console(file=file)
    width = natural_width(table)
    if terminal.is_terminal and width > terminal.width:
        longest = max(len(str(cell)) for cell in table.columns[0].cells) if table.row_count else 0
        table = with_names_of(table, max(LEAST_NAME, longest - (width - terminal.width)))
        width = natural_width(table)
    Console(file=file, width=max(width, 1)).print(table)


def natural_width(table: Table) -> int:
    """Characters that no cell is cut in."""
    roomy = Console(width=100_000)
    return Measurement.get(roomy, roomy.options, table).maximum


def with_names_of(table: Table, most: int) -> Table:
    """The same table, names of its first column at most so long: their middle goes, for what tells files apart is at the ends."""
    shorter = Table(title=table.title, title_justify=table.title_justify)
    for column in table.columns:
        shorter.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    cells = [list(column.cells) for column in table.columns]
    for row, kept in enumerate(table.rows):
        name, *figures = (column[row] for column in cells)
        shorter.add_row(shortened(str(name), most), *figures, end_section=kept.end_section)
    return shorter


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[len(name) - (most - 1 - head) :]}"
