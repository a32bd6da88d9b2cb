"""An experiment's page: printed as it is written, kept as Markdown beside the figures in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.run.provenance import git_commit, hardware


class Page:
    """A title, the command that makes the page, where and when; then lines and tables."""

    def __init__(self, title: str, command: str) -> None:
        machine = hardware()
        devices = ", ".join(machine["gpus"]) or f"{machine['cpu']}, {machine['cores']} cores, no GPU"
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        where = f"{devices}; torch {machine['torch']}; commit {git_commit()}, {now}."
        self._lines = [f"# {title}", "", f"Written by `{command}`. {where}", ""]
        self._machine = machine

    def line(self, text: str) -> None:
        self._lines.append(text)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A Markdown table with a blank line on both sides."""
        self._lines += ["", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
        self._lines += [f"| {' | '.join(row)} |" for row in rows] + [""]

    def finish(self, name: str, record: dict[str, Any], folder: Path | None) -> None:
        """Prints the page; writes folder/NAME.md and folder/NAME.json when a folder is given."""
        text = "\n".join(self._lines) + "\n"
        print(text)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
            document = {"hardware": self._machine, "commit": git_commit(), **record}
            (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_finished(path: Path) -> dict[str, Any] | None:
    """What a finished run left, or None."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_finished(path: Path, found: dict[str, Any]) -> None:
    """Keeps a finished run; the file appears when it is complete."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(path)
