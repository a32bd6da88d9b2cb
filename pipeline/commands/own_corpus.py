"""Makes a folder of videos this checkout's own corpus: writes local/corpus.yaml.

    python -m pipeline.commands.own_corpus FOLDER

Run by the DVC stage that flows.own_corpus writes, before any other, so that a folder without videos is told at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from pipeline.run.settings import OWN_CORPUS_FILE
from sheap.video.file_names import VIDEO_SUFFIXES


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2: no video there."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.commands.own_corpus", description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    folder = parser.parse_args(arguments).folder
    try:
        found = any(file.suffix.lower() in VIDEO_SUFFIXES and file.is_file() for file in folder.rglob("*"))
        problem = None if found else f"holds no video (looked for {', '.join(sorted(VIDEO_SUFFIXES))})"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    if problem is not None:
        print(f"videos: error: {folder}: {problem}", file=sys.stderr)
        return 2
    text = yaml.safe_dump({"folder": str(folder), "carphone": False, "further": []}, sort_keys=False, allow_unicode=True)
    OWN_CORPUS_FILE.write_text(f"# Stands for these settings of params.yaml: see README.md.\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
