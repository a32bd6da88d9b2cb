"""`sheap head`: what a head model file is, and ours from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.

app = typer.Typer(no_args_is_help=True, help="Head models: FLAME, GNM Head, ICT Face Model Light, and ours.")

HeadPath = Annotated[Path, typer.Argument(help="A head model's file or folder, as its publisher or other projects leave it.")]


@app.command("info")
def info(path: HeadPath) -> None:
    """Say what was recognised, its sizes, what is missing and what therefore will not work."""
    from sheap.head.door import recognise
    from sheap.head.inventory import describe
    from sheap.head.model import HeadModel

    found = recognise(path)
    for line in describe(HeadModel.load(path), [file.name for file in found.files]):
        print(line)


@app.command("convert")
def convert(
    path: HeadPath,
    out: Annotated[Path, typer.Option(help="The .safetensors file to write; every head_model setting takes it.")],
) -> None:
    """Write a head model in our format, with what was missing made: landmarks, NoW's seven, regions, UVs (a minute)."""
    from sheap.completion.complete import completed
    from sheap.completion.landmarks import mediapipe_detector
    from sheap.head.data import write_head
    from sheap.head.model import HeadModel

    if out.suffix != ".safetensors":
        raise ValueError(f"--out: {out}: expected a name ending in .safetensors")
    head = completed(HeadModel.load(path), mediapipe_detector)
    temporary = out.with_name(f".{out.name}.tmp")
    write_head(head.data, temporary)
    temporary.rename(out)
    assert head.source is not None, "a head that was read has a source"
    made = ", ".join(head.source.made) or "nothing"
    print(f"{path} -> {out} ({out.stat().st_size / 2**20:.1f} MiB); made: {made}; licence: {head.source.licence}")
