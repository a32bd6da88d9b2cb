"""Which of our files decide a result: computed from the import graph, so that no list of them is kept by hand.

A program's code is every module that it reaches by imports (those inside functions too, those for type checkers not), the
packages on the way, and the data files that these modules name; an empty file decides nothing. Left out is how a program is run
(`RUNNING`): its start, locks, logs, worker processes. Such modules are followed, but a change in one changes no result.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
"""What the packages lie in."""

PACKAGES = ("pipeline", "sheap")
RUNNING = ("pipeline.run", "pipeline.workers")
"""Packages that decide how a program starts, shares out its work, logs and fails, never what it computes."""


def modules_behind(*programs: str) -> frozenset[str]:
    """The modules that decide what these modules compute, themselves included. Raises ValueError for an unknown one."""
    graph = _import_graph()
    reached: set[str] = set()
    for program in programs:
        if program not in graph.modules:
            raise ValueError(f"{program}: no module of {' or '.join(PACKAGES)}")
        reached |= {program} | graph.find_upstream_modules(program)
    waiting = list(reached)
    while waiting:
        # Importing a module runs the packages above it. The two at the top hold a version and the processes' environment,
        # which count where they are imported by name.
        package = waiting.pop().rpartition(".")[0]
        if "." in package and package not in reached:
            found = {package} | graph.find_upstream_modules(package)
            waiting += found - reached
            reached |= found
    return frozenset(name for name in reached if not _is_running(name))


def code_files(*programs: str) -> list[Path]:
    """The files behind these modules below `ROOT`, sorted: sources, and the data files beside them that they name."""
    found: set[Path] = set()
    for name in modules_behind(*programs):
        source = _source(name)
        found |= _files_below(source) | _named_data(source)
    return sorted(path.relative_to(ROOT) for path in found)


def code_hash(*programs: str) -> str:
    """SHA-256 of the names and contents of `code_files`."""
    digest = hashlib.sha256()
    for path in code_files(*programs):
        digest.update(path.as_posix().encode("utf-8") + hashlib.sha256((ROOT / path).read_bytes()).digest())
    return digest.hexdigest()


def whole_folders(files: Iterable[Path]) -> list[Path]:
    """The same files (below `ROOT`) in fewer words: a folder stands for its content where all of that is among them."""
    wanted = set(files)

    def shorten(folder: Path) -> list[Path]:
        inside = {path.relative_to(ROOT) for path in _files_below(ROOT / folder)}
        if not inside & wanted:
            return []
        if inside <= wanted:
            return [folder]
        folders = sorted(path for path in (ROOT / folder).iterdir() if path.is_dir())
        own = [path for path in inside & wanted if path.parent == folder]
        return own + [short for path in folders for short in shorten(path.relative_to(ROOT))]

    return sorted(short for package in PACKAGES for short in shorten(Path(package)))


@lru_cache(maxsize=1)
def _import_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def _is_running(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in RUNNING)


def _source(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _named_data(source: Path) -> set[Path]:
    """Files, and those of folders, beside a source that it names in a string: weights, templates, tables."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or "\n" in node.value:
            continue
        beside = source.parent / node.value
        if node.value.strip("./") and beside.suffix != ".py" and len(node.value) < 100 and beside.exists():
            files = _files_below(beside)
            if not any(path.suffix == ".py" for path in files):
                found |= files
    return found


def _files_below(path: Path) -> set[Path]:
    """A file itself, or the files below a folder, but for empty ones and for what the interpreter compiles."""
    files = [path] if path.is_file() else path.rglob("*")
    return {file for file in files if file.is_file() and file.stat().st_size and "__pycache__" not in file.parts}
