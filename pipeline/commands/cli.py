"""The console script `sheap`: the library's doors from the command line. `sheap --help` lists what exists."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

import sheap
from pipeline.commands.corpora import app as corpus_app
from pipeline.commands.evaluate import app as evaluate_app
from pipeline.commands.head import app as head_app
from pipeline.commands.options import HeadFile, Model
from pipeline.commands.predict import app as predict_app
from pipeline.commands.shards import app as shards_app
from pipeline.run.settings import PARAMS_FILE, StageError, load_params

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(predict_app, name="predict")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(shards_app, name="shards")
app.add_typer(corpus_app, name="corpus")
app.add_typer(head_app, name="head")

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.


def say_version(wanted: bool) -> None:
    """Prints the version and ends."""
    if wanted:
        print(f"sheap {sheap.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """The library's doors from the command line."""


@app.command("status")
def status() -> None:
    """Show what is champion and why, what ran, what failed and what to do, what comes next, and the disk."""
    from rich.console import Console

    from pipeline.commands.status import show_status

    show_status(Console() if sys.stdout.isatty() else Console(width=130))


@app.command("promote")
def promote(
    push: Annotated[bool, typer.Option(help="Send the tags to the remote at once; who comes second there is refused.")] = False,
    measure: Annotated[bool, typer.Option(help="Measure the champion first where its figures are of another benchmark.")] = False,
) -> None:
    """Tag the registered model as the champion, if it beats the present one on the same benchmark (git, DVC, gto)."""
    from pipeline.commands.promote import main as promote_main

    raise typer.Exit(promote_main(push=push, measure=measure))


@app.command("rollback")
def rollback(
    version: Annotated[str | None, typer.Argument(help="Which version; without one, the champion before this.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, kept with the tag.")] = None,
    push: Annotated[bool, typer.Option(help="Send the tags to the remote at once.")] = False,
) -> None:
    """Make an earlier version the champion again; the next promotion must beat that one."""
    from pipeline.commands.promote import main as promote_main

    raise typer.Exit(promote_main(back=True, version=version, reason=reason, push=push))


@app.command("evaluate-registered")
def evaluate_registered(
    version: Annotated[str, typer.Argument(help="Of a registered model, e.g. v0.0.1.")],
) -> None:
    """Measure a registered model on today's benchmark, so that 'sheap promote' can compare where the benchmark has changed."""
    from pipeline.commands.evaluate_registered import evaluate_registered as evaluate

    path = evaluate(version)
    print(path.read_text(), end="")
    print(f"kept in {path}", file=sys.stderr)


@app.command("export")
def export_model(
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    to: Annotated[Literal["onnx", "torchscript", "pt2"], typer.Option(help="Its format.")] = "onnx",
    model: Model = None,
    head_model: HeadFile = None,
) -> None:
    """Write the predictor as one file for other programs: head crops in, parameters and vertices out (docs/export.md)."""
    from pipeline.files.trained_model import load_trained
    from sheap.export import TOLERANCE_MM, export

    try:
        apart = export(load_trained(model, head_model=head_model).network, out, to)
    except ImportError as error:
        raise ValueError(str(error)) from None
    print(f"{out}: vertices within {apart:.4f} mm of the network's ({TOLERANCE_MM} mm allowed)")


@app.command("ingest")
def ingest(
    videos: Annotated[list[Path], typer.Argument(help="Video files, folders of them, or patterns ('clips/*.mp4').")],
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
    video: Annotated[list[str] | None, typer.Option(help="Name of one video as the corpus lists it.")] = None,
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
    if isinstance(sys.stdout, io.TextIOWrapper):  # as stderr does: a name that is not UTF-8 must not end the batch
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if "" in sys.argv[1:]:  # as a path it would be the current folder
            raise ValueError("an empty argument (a variable that is not set?); the current folder is called .")
        app()
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        print(f"sheap: error: {error.title}: {'; '.join(problems)}", file=sys.stderr)
        sys.exit(2)
    except (StageError, ValueError, OSError) as error:
        print(f"sheap: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
