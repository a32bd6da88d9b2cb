"""Makes the package's file of skins and brows. Not a stage of the graph.

`python -m pipeline.skin_model build --assets FOLDER` rebuilds it from a folder of MakeHuman's CC0 assets (skins/*.jpg and
eyebrows/, as sheap.people.makehuman reads them). Run it after a change of the recipe or of the open head's mean.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sheap.head.model import HeadModel
from sheap.people.makehuman import MakeHumanAssets
from sheap.people.skin_model import OPEN_SKINS_PATH, write_skins
from sheap.people.skin_recipe import build_skins

app = typer.Typer(help="Makes the file of skins.", no_args_is_help=True, add_completion=False)


@app.callback()
def _commands() -> None:
    """Makes the file of skins."""


@app.command()
def build(
    assets: Annotated[Path, typer.Option(help="folder of MakeHuman's CC0 assets")],
    output: Annotated[Path, typer.Option(help="the file to write")] = OPEN_SKINS_PATH,
) -> None:
    """Builds the skins and prints what went in."""
    try:
        # Not the shared stage: it would want the file that is made here.
        head = HeadModel.load()
        model = build_skins(MakeHumanAssets.for_head(assets, head), head)
        write_skins(model, output)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    size = output.stat().st_size
    print(f"{output}: {len(model.sources)} skins, {len(model.brows)} brows, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    app()
