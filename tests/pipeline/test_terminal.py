"""Tables are printed with every digit, on narrow terminals and into pipes."""

from __future__ import annotations

import io
import re

import pytest
from rich.table import Table

from pipeline.reporting.terminal import print_table, shortened

NAMES = ("a/a_very_long_name_of_a_video_that_somebody_has_made.mp4", "b/a_very_long_name_of_a_video_that_somebody_has_made.mp4")
FIGURES = ("12345", "1.234 %", "0.567 mm", "123.456", "9.876")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table() -> Table:
    made = Table(title="Real footage", title_justify="left")
    for number, title in enumerate(("file", "frames", "landmark\njitter", "identity spread", "x", "y")):
        made.add_column(title, justify="right" if number else "left", no_wrap=True)
    for name in NAMES:
        made.add_row(name, *FIGURES)
    return made


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_terminal_cuts_names_and_never_digits(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    print_table(table(), out)
    rows = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines() if "12345" in line]
    assert len(rows) == 2 and all(figure in row for row in rows for figure in FIGURES)
    assert rows[0] != rows[1], "shortened names still tell the files apart"
    if columns >= 80:
        assert max(map(len, rows)) <= columns


def test_a_pipe_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out = io.StringIO()
    print_table(table(), out)
    assert all(text in out.getvalue() for text in (*NAMES, *FIGURES))


def test_shortened() -> None:
    assert shortened("abc", 12) == "abc"
    assert shortened("abcdefghijklmnop", 7) == "abc…nop" and len(shortened("x" * 50, 12)) == 12
