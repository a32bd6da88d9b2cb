"""Makes a folder of videos this checkout's own corpus: writes local/corpus.yaml.

    python -m pipeline.commands.own_corpus [--check] FOLDER

With --check it only says whether there is a video: `make demo` asks that first. Else it is run by the DVC stage that
flows.own_corpus writes, before any other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from pipeline.run.settings import OWN_CORPUS_FILE
from sheap.files import write_text
from sheap.results.inputs import not_there
from sheap.video.file_names import VIDEO_SUFFIXES


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2: no video there."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.commands.own_corpus", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    given = parser.parse_args(arguments)
    folder = given.folder
    problem = folder_problem(folder)
    if problem is not None:
        print(f"videos: error: {problem}", file=sys.stderr)
        return 2
    if given.check:
        return 0
    text = yaml.safe_dump({"folder": str(folder), "carphone": False, "further": []}, sort_keys=False, allow_unicode=True)
    write_text(OWN_CORPUS_FILE, f"# Stands for these settings of params.yaml: see README.md.\n{text}")
    return 0


def folder_problem(folder: Path) -> str | None:
    """Why a folder is no corpus; None where it holds a video."""
    if not folder.exists():
        return not_there(folder)
    if not folder.is_dir():
        return f"{folder}: a file; name the folder that it is in"
    try:
        found = any(file.suffix.lower() in VIDEO_SUFFIXES and file.is_file() for file in folder.rglob("*"))
    except OSError as error:
        return f"{folder}: cannot be read ({error.strerror})"
    return None if found else f"{folder}: holds no video (looked for {', '.join(sorted(VIDEO_SUFFIXES))})"


if __name__ == "__main__":
    sys.exit(main())
