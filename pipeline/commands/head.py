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
    from sheap.files import require_writable
    from sheap.head.data import write_head
    from sheap.head.model import HeadModel

    if out.suffix != ".safetensors":
        raise ValueError(f"--out: {out}: expected a name ending in .safetensors")
    require_writable(out)
    head = completed(HeadModel.load(path), mediapipe_detector)
    write_head(head.data, out)
    assert head.source is not None, "a head that was read has a source"
    made = ", ".join(head.source.made) or "nothing"
    print(f"{path} -> {out} ({out.stat().st_size / 2**20:.1f} MiB); made: {made}; licence: {head.source.licence}")


@app.command("transfer")
def transfer(
    a: HeadPath,
    b: Annotated[Path, typer.Argument(help="The head model whose parameters are wanted.")],
    predictions: Annotated[
        list[Path] | None, typer.Option(help="STEM.json of `sheap predict images` with A's parameters (again for more).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where B's STEM.json and STEM.obj go.")] = Path("outputs/transferred"),
    people: Annotated[int, typer.Option(min=0, help="Random people of A by whom the accuracy is measured.")] = 20,
    seed: Annotated[int, typer.Option(help="Of these people.")] = 0,
) -> None:
    """Lay two head models on each other and carry parameters over; says how well the skins and random people agree."""
    from pipeline.files.head_files import prepared_head, prepared_transfer
    from pipeline.predict_files import transfer_prediction
    from sheap.head.model import HeadModel
    from sheap.transfer.accuracy import transferred_distances

    made = prepared_transfer(HeadModel.load(prepared_head(a)), b)
    for part, (median, high) in made.residual_mm.items():
        print(f"registration, {part}: median {median:.3f} mm, 95 % below {high:.3f} mm between the bent mean head and the other")
    if people:
        found = transferred_distances(made, people, seed)
        print(f"{people} random people: median surface distance {found.skin_mm:.2f} mm (face alone {found.face_mm:.2f} mm)")
    for path in predictions or []:
        transfer_prediction(made, path, out / path.stem)
        print(f"{path} -> {out / path.stem}.obj")
