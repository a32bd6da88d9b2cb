"""Writes the hashes of weights and settings into a model folder that was saved before there were any.

    python -m pipeline.commands.seal_model FOLDER

The weights stay as they are. Folders that are saved now carry their hashes from the start.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sheap.bundle import seal_bundle


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2: no model folder, or hashes that are there and differ."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.commands.seal_model", description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    folder = parser.parse_args(arguments).folder
    try:
        seal_bundle(folder)
    except (ValueError, OSError) as error:
        print(f"seal_model: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{folder}: sealed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
