"""The console script `sheap`: the library's doors from the command line. `sheap --help` lists what exists."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.evaluate import app as evaluate_app
from pipeline.commands.head import app as head_app
from pipeline.commands.predict import app as predict_app
from pipeline.commands.shards import app as shards_app
from pipeline.run.settings import PARAMS_FILE, StageError, load_params

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(predict_app, name="predict")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(shards_app, name="shards")
app.add_typer(head_app, name="head")

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.


@app.command("promote")
def promote() -> None:
    """Tag the registered model as the champion, if it beats the present one on the same benchmark (git, DVC, gto)."""
    from pipeline.commands.promote import main as promote_main

    raise typer.Exit(promote_main())


@app.command("ingest")
def ingest(
    videos: Annotated[list[Path], typer.Argument(help="Video files, and folders of them.")],
    out: Annotated[Path, typer.Option(help="Where everything goes; named again with more videos, it appends.")],
    params: Annotated[Path, typer.Option(help="Whose sections ingest and shards are the settings.")] = PARAMS_FILE,
    image_size: Annotated[int | None, typer.Option(min=32, max=1024, help="Side of the crops, px, if another.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames taken a second, if others.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes, if others; 0 takes every core.")] = None,
    identity: Annotated[str | None, typer.Option(help="Who it is, where all these videos show one person.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of these videos, kept with every clip.")] = "not stated",
    origin: Annotated[str, typer.Option(help="Where these videos come from, kept with every clip.")] = "not stated",
    repack: Annotated[bool, typer.Option(help="Write all shards anew instead of appending.")] = False,
) -> None:
    """Turn videos into training shards; the counts go to stdout as JSON, progress to stderr."""
    import logging

    from pipeline.commands.ingest_videos import ingest_videos
    from pipeline.corpus import VideoFacts
    from pipeline.ingest import IngestParams
    from pipeline.shards import ShardsParams

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    num_workers = None if workers is None else workers or "auto"
    changes = {"image_size": image_size, "fps": fps, "num_workers": num_workers}
    settings = load_params("ingest", IngestParams, params, {k: v for k, v in changes.items() if v is not None})
    facts = VideoFacts(identity=identity, licence=licence, origin=origin)
    packing = load_params("shards", ShardsParams, params)
    print(json.dumps(ingest_videos(videos, out, settings, packing, facts, repack=repack), indent=1))


@app.command("takedown")
def takedown(
    video: Annotated[list[str] | None, typer.Option(help="Name of a video as the corpus lists it.")] = None,
    identity: Annotated[list[str] | None, typer.Option(help="A person: all their videos.")] = None,
    sha256: Annotated[list[str] | None, typer.Option(help="Hash of a video.")] = None,
    folder: Annotated[Path | None, typer.Option(help="What 'sheap ingest --out' made (default: this project).")] = None,
) -> None:
    """Remove videos from corpus, clips, shards and caches; print the proof as JSON. Exit code 2: a trace is left."""
    from pipeline.commands.ingest_videos import IngestFolder
    from pipeline.commands.takedown import Places, take_down

    places = Places.of_project() if folder is None else Places.of_folder(folder)
    proof = take_down(places, videos=video or [], identities=identity or [], hashes=sha256 or [])
    hashes = [item["sha256"] for item in proof["removed"]]
    if folder is None:
        print("to keep them out, name these hashes in params.yaml, corpus.excluded", file=sys.stderr)
    else:
        IngestFolder(folder).exclude(hashes)
    print(json.dumps(proof, indent=1))
    if proof["still_found_in"] or proof["shards_verify"]:
        raise typer.Exit(2)


def main() -> None:
    """Runs the command line. A user's mistake ends in one line and exit code 2."""
    try:
        app()
    except (StageError, ValueError, OSError) as error:
        print(f"sheap: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
