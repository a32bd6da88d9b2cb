"""Files that a user names: one by one, by folders, by patterns. What is not there is said before anything is begun."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sheap.results.names import distinct_files, printable

MOST_PROBLEMS_TOLD = 4


@dataclass(frozen=True)
class NamedFiles:
    """files: each once, in the order in which they were named. problems: what stood for no file, and why."""

    files: tuple[Path, ...]
    problems: Mapping[str, str]

    def all_there(self) -> list[Path]:
        """The files. Raises ValueError naming every place that stands for none."""
        if self.problems:
            told = list(self.problems.values())
            more = len(told) - MOST_PROBLEMS_TOLD
            raise ValueError("; ".join(told[:MOST_PROBLEMS_TOLD]) + (f"; and {more} more" if more > 0 else ""))
        return list(self.files)


def named_files(
    places: Iterable[Path], suffixes: Collection[str], what: str, leave_out: Callable[[Path], bool] = lambda path: False
) -> NamedFiles:
    """The files that these places stand for: files as they are, folders with all below them, patterns (`a/*.jpg`).

    suffixes: of the files wanted from folders and patterns, in lower case with the dot; a file that is named by itself is taken
    whatever it is called. what: what is looked for, in the plural ("pictures"). Hidden files and links that lead nowhere are not
    looked for in folders, nor is what leave_out says.
    """
    found: list[Path] = []
    problems: dict[str, str] = {}
    for place in map(_at_home, places):
        shown = printable(place)
        if os.path.isdir(place):
            here = sorted(path for path in place.rglob("*") if _is_wanted(path, suffixes, place) and not leave_out(path))
            if not here:
                problems[shown] = f"{shown}: no {what} in this folder (looked for {', '.join(sorted(suffixes))})"
            found += here
        elif os.path.exists(place):
            found.append(place)
        elif glob.has_magic(str(place)) and not os.path.lexists(place):
            matches = (Path(path) for path in sorted(glob.glob(str(place), recursive=True)))
            here = [path for path in matches if path.suffix.lower() in suffixes and path.is_file() and not leave_out(path)]
            if not here:
                problems[shown] = f"{shown}: no {what} match this pattern"
            found += here
        else:
            problems[shown] = not_there(place)
    return NamedFiles(tuple(distinct_files(found)), problems)


def expanded_places(places: Iterable[Path], what: str) -> list[Path]:
    """Files and folders as they are, patterns as what they match. Raises ValueError naming what is not there."""
    found: list[Path] = []
    problems: dict[str, str] = {}
    for place in map(_at_home, places):
        if os.path.exists(place):
            found.append(place)
        elif glob.has_magic(str(place)) and not os.path.lexists(place):
            matches = [Path(path) for path in sorted(glob.glob(str(place), recursive=True))]
            if not matches:
                problems[str(place)] = f"{printable(place)}: no {what} match this pattern"
            found += matches
        else:
            problems[str(place)] = not_there(place)
    return list(dict.fromkeys(NamedFiles(tuple(found), problems).all_there()))


def not_there(path: Path) -> str:
    """That a path leads nowhere, and what there is instead: the nearest folder above, or a name much like it."""
    shown = printable(path)
    if os.path.islink(path):
        return f"{shown}: a link to {printable(os.readlink(path))}, which is not there"
    above, name = path.parent, path.name
    while not os.path.exists(above) and above != above.parent:
        above, name = above.parent, above.name
    if not os.path.isdir(above):
        return f"{shown}: not there ({printable(above)} is a file, not a folder)"
    try:
        like = difflib.get_close_matches(name, [entry.name for entry in above.iterdir()], n=1, cutoff=0.7)
    except OSError:
        like = []
    if like:
        return f"{shown}: not there; did you mean {printable(above / like[0])}?"
    return f"{shown}: not there" + ("" if above == path.parent else f" (nor is {printable(above / name)})")


def _at_home(place: Path) -> Path:
    """`~/...` as a shell reads it, which leaves it alone in a pattern's quotes. A file that is called so stays that file."""
    if not place.parts or not place.parts[0].startswith("~") or os.path.lexists(place.parts[0]):
        return place
    return Path(os.path.expanduser(place))


def _is_wanted(path: Path, suffixes: Collection[str], below: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(below).parts)
    return path.suffix.lower() in suffixes and not is_hidden and path.is_file()
