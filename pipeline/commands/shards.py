"""`sheap shards`: look at and verify shard folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.

app = typer.Typer(no_args_is_help=True, help="Look at and verify shard folders.")


@app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(help="A shard folder with its manifest.json.")]) -> None:
    """Compare every byte with the manifest: finds flipped bytes, cut tars, missing and extra files."""
    from sheap.data.manifest import verify_shards

    problems = verify_shards(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    print(f"{folder}: verified")


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="A shard folder with its manifest.json.")],
    dropped: Annotated[Path | None, typer.Option(help="What ingestion left (default: ingest beside FOLDER).")] = None,
    out: Annotated[Path | None, typer.Option(help="The page (default: contact_sheet.html beside FOLDER).")] = None,
) -> None:
    """Write a page of thumbnails: what was kept, the least sharp first, and what was dropped and why."""
    from pipeline.reporting.contact_sheet import write_contact_sheet

    folder = folder.resolve()
    beside = folder.parent / "ingest"
    page = out or folder.parent / "contact_sheet.html"
    shown = write_contact_sheet(folder, dropped or (beside if beside.is_dir() else None), page)
    print(json.dumps({"page": str(page), "clips_shown": shown}))


@app.command("stats")
def stats(folder: Annotated[Path, typer.Argument(help="A shard folder with its manifest.json.")]) -> None:
    """Print the manifest's counts as JSON."""
    from sheap.data.manifest import Manifest

    manifest = Manifest.read(folder)
    print(json.dumps(json.loads(manifest.model_dump_json(exclude={"splits": {"__all__": {"shards"}}})), indent=1))
