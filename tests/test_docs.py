"""Pages that code and readers are sent to: what is cited exists."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_every_cited_section_of_the_method_exists() -> None:
    sections = set(re.findall(r"^## (\d+)\. ", (PROJECT / "docs" / "method.md").read_text(), re.MULTILINE))
    cited = {
        number
        for path in (PROJECT / "sheap").rglob("*.py")
        for numbers in re.findall(r"method\.md, (\d+(?:-\d+)?)", path.read_text())
        for number in numbers.split("-")
    }
    assert len(cited) >= 5 and cited <= sections


def test_every_file_that_the_guides_name_exists() -> None:
    named = 0
    for page in ("extending.md", "method.md", "shards.md"):
        for path in re.findall(r"`((?:sheap|pipeline|tests|docs)/[\w./]+)`", (PROJECT / "docs" / page).read_text()):
            if "NAME" not in path:
                named += 1
                assert (PROJECT / path).exists(), f"docs/{page}: {path}"
    assert named > 25
