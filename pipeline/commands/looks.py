"""Makes the package's files of skins, brows and hair. Not a stage of the graph.

`python -m pipeline.commands.looks build --assets FOLDER` rebuilds them from a folder of MakeHuman's CC0 assets (skins/*.jpg,
eyebrows/ and
hair/, as sheap.people.makehuman reads them). Run it after a change of the recipe or of the open head's mean.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sheap.head.model import HeadModel
from sheap.people.hair_model import OPEN_HAIR_PATH, write_hair
from sheap.people.hair_recipe import build_hair
from sheap.people.makehuman import MakeHumanAssets
from sheap.people.skin_model import OPEN_SKINS_PATH, write_skins
from sheap.people.skin_recipe import build_skins

app = typer.Typer(help="Makes the files of skins and hair.", no_args_is_help=True, add_completion=False)


@app.callback()
def _commands() -> None:
    """Makes the files of skins and hair."""


@app.command()
def build(
    assets: Annotated[Path, typer.Option(help="folder of MakeHuman's CC0 assets")],
    output: Annotated[Path, typer.Option(help="folder for the two files")] = OPEN_SKINS_PATH.parent,
) -> None:
    """Builds both files and prints what went in."""
    try:
        # Not the shared stage: it would want the files that are made here.
        head = HeadModel.load()
        folder = MakeHumanAssets.for_head(assets, head)
        skins, hair = build_skins(folder, head), build_hair(folder, head)
        write_skins(skins, output / OPEN_SKINS_PATH.name)
        write_hair(hair, output / OPEN_HAIR_PATH.name)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    sizes = {path.name: (output / path.name).stat().st_size / 1e6 for path in (OPEN_SKINS_PATH, OPEN_HAIR_PATH)}
    print(f"{len(skins.sources)} skins, {len(skins.brows)} brows, {len(hair)} hair styles")
    print(", ".join(f"{name}: {size:.2f} MB" for name, size in sizes.items()))


if __name__ == "__main__":
    app()
