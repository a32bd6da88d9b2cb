"""One name, one result: names derive from the part of a path that tells the inputs apart.

A picture alone is called by its stem. Where two inputs (or a file that is there already) would share a file, those that meet
take the ending too (x.png, x.jpg), or else the folders above (a__x, b__x), as many as it takes. Names that differ in case or in
Unicode form alone count as one, as they do on many disks.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath

JOINT = "__"
"""Between a folder's name and what is in it."""

MOST_BYTES = 200
"""Of a name without its endings; file systems take 255 with them."""


def distinct_files(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that lead to a file named before, in their order."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def result_names(
    inputs: Sequence[Path], endings: Sequence[str], is_taken: Callable[[Path, str], bool] = lambda path, file: False
) -> list[str]:
    """A name for each input's results, in the inputs' order: NAME + ENDING is a file of one input alone.

    endings: of every file that is made of an input (".obj", "_overlay.png"). is_taken: whether a file of this name must be left
    as it is, and is not to be made of that input. Raises ValueError when an input is given twice (see distinct_files).
    """
    candidates = [_file_names(path) for path in inputs]
    return _told_apart(inputs, candidates, lambda name: [name + ending for ending in endings], is_taken)


def distinct_labels(
    paths: Sequence[Path],
    depths: Sequence[int] | None = None,
    is_taken: Callable[[Path, str], bool] = lambda path, label: False,
) -> list[str]:
    """How each of several files is called in a table: its name, with as many folders above as tell it apart (b/x.mp4).

    depths: of how many parts each is called at least (1: the name alone). is_taken: whether another file is called so already.
    Raises ValueError when a path is given twice.
    """
    depths = [1] * len(paths) if depths is None else depths
    candidates = [_labels(path, depth) for path, depth in zip(paths, depths, strict=True)]
    return _told_apart(paths, candidates, lambda name: [name], is_taken)


def printable(text: str | PurePath) -> str:
    """Text that JSON, tables and terminals can hold in one line, also where a name's bytes are no UTF-8 or it holds line ends."""
    return os.fsencode(str(text)).decode("utf-8", "backslashreplace").translate(_CONTROLS)


_CONTROLS = {code: chr(code).encode("unicode_escape").decode() for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
"""What moves a terminal's cursor or ends a line, as it is written in programs."""


def _told_apart(
    paths: Sequence[Path],
    candidates: Sequence[Iterator[str]],
    made_of: Callable[[str], list[str]],
    is_taken: Callable[[Path, str], bool],
) -> list[str]:
    """The first candidate of each path with which no two meet; those that meet go on together."""
    if len({os.path.abspath(path) for path in paths}) != len(paths):
        raise ValueError("inputs: one of them is given twice")
    names = [next(own) for own in candidates]
    while True:
        users: dict[Hashable, set[int]] = defaultdict(set)
        meeting = set()
        for index, name in enumerate(names):
            files = made_of(name)
            if any(is_taken(paths[index], file) for file in files):
                meeting.add(index)
            for file in files:
                users[alike(file)].add(index)
        meeting |= {index for found in users.values() if len(found) > 1 for index in found}
        if not meeting:
            return names
        for index in meeting:
            names[index] = next(candidates[index])


def _file_names(path: Path) -> Iterator[str]:
    whole = PurePath(os.path.abspath(path))
    folders = [part for part in whole.parts[:-1] if part != whole.anchor]
    for depth in range(len(folders) + 1):
        above = folders[len(folders) - depth :]
        for own in (whole.stem, whole.name):
            name = JOINT.join([*above, own])
            if len(os.fsencode(name)) <= MOST_BYTES:
                yield name
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()
    stem = os.fsdecode(os.fsencode(whole.stem)[: MOST_BYTES - 80])
    yield from (f"{stem}-{digest[:length]}" for length in (8, 16, 32, 64))
    yield from (f"{stem}-{digest}-{number}" for number in range(2, 10**9))  # even that is a file of the user's


def _labels(path: Path, least: int) -> Iterator[str]:
    whole = os.path.abspath(path)
    parts = PurePath(whole).parts
    yield from ("/".join(printable(part) for part in parts[len(parts) - depth :]) for depth in range(least, len(parts)))
    yield f"{printable(whole)} ({hashlib.sha256(os.fsencode(whole)).hexdigest()})"  # two that are printed alike


def alike(name: str) -> str:
    """The same for names that some disk takes for one."""
    return unicodedata.normalize("NFC", name).casefold()
