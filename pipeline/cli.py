"""The console script `sheap`: the library's doors from the command line. `sheap --help` lists what exists."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.evaluate import app as evaluate_app

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
predict_app = typer.Typer(no_args_is_help=True, help="Predict heads.")
shards_app = typer.Typer(no_args_is_help=True, help="Look at and verify shard folders.")
app.add_typer(predict_app, name="predict")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(shards_app, name="shards")

# Heavy libraries are imported inside the commands, so that `sheap --help` answers at once.

Model = Annotated[Path, typer.Option(help="A registered bundle or a data/model folder.")]
HeadFile = Annotated[Path | None, typer.Option(help="The head model, where it is not the one that train.json names.")]
LandmarkFile = Annotated[Path | None, typer.Option(help="MediaPipe's landmark bundle, where not the one of training.")]
DEFAULT_MODEL = Path("data/model")


@predict_app.command("images")
def predict_images(
    images: Annotated[list[Path], typer.Argument(help="Pictures, each with a face.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path, typer.Option(help="Where STEM.obj, STEM.json and STEM_overlay.png go.")] = Path(
        "outputs/predictions"
    ),
) -> None:
    """Find the face in each picture; write its mesh (metres), its parameters and an overlay to look at."""
    from pipeline.predict_files import predict_picture
    from pipeline.trained_model import load_trained

    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model)
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in images:
        try:
            predict_picture(predictor, path, out / path.stem)
        except (ValueError, OSError) as error:
            failed += 1
            print(f"sheap: {error}", file=sys.stderr)
        else:
            print(f"{path} -> {out / path.stem}.obj")
    if failed:
        raise typer.Exit(2)


@predict_app.command("now")
def predict_now(
    dataset: Annotated[Path, typer.Option(help="A folder in NoW's layout.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path, typer.Option(help="The submission folder to write.")] = Path("outputs/now/predicted_meshes"),
    image_set: Annotated[str, typer.Option(help="'val' or 'test': which of NoW's image lists.")] = "val",
) -> None:
    """Write a NoW submission folder (neutral meshes in millimetres and seven landmarks) and check it."""
    from pipeline.trained_model import load_trained
    from sheap.evaluation.head_meshes import neutral
    from sheap.evaluation.now.dataset import NowDataset
    from sheap.evaluation.now.submission import SubmissionFolder, check_submission
    from sheap.evaluation.predictions import predict_pictures

    opened = NowDataset.open(dataset, image_set)
    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model)
    counts, predictions = predict_pictures(opened, {"model": predictor}, predictor.face_finder)
    SubmissionFolder(out).write(neutral(predictions["model"]), predictions["model"].rows)
    check = check_submission(out, opened)
    for image, problems in check.problems.items():
        print(f"{image}: {'; '.join(problems)}", file=sys.stderr)
    print(f"{out}: {check.num_images - len(check.problems)} of {check.num_images} predictions are sound ({counts})")
    if not check.is_good:
        raise typer.Exit(2)


@predict_app.command("expressions")
def predict_expressions(
    dataset: Annotated[Path, typer.Option(help="A folder in the layout of docs/evaluation/expressions.md.")],
    model: Model = DEFAULT_MODEL,
    head_model: HeadFile = None,
    landmark_model: LandmarkFile = None,
    out: Annotated[Path, typer.Option(help="The submission folder to write.")] = Path("outputs/expressions"),
) -> None:
    """Write meshes (millimetres) with their expression, and seven landmarks each, for an expression benchmark."""
    from pipeline.trained_model import load_trained
    from sheap.evaluation.expression_dataset import ExpressionDataset
    from sheap.evaluation.head_meshes import expressive
    from sheap.evaluation.now.submission import SubmissionFolder
    from sheap.evaluation.predictions import predict_pictures

    opened = ExpressionDataset.open(dataset)
    predictor = load_trained(model, head_model=head_model, landmark_model=landmark_model)
    counts, predictions = predict_pictures(opened, {"model": predictor}, predictor.face_finder)
    SubmissionFolder(out).write(expressive(predictions["model"]), predictions["model"].rows)
    print(f"{out}: {len(counts.predicted)} of {len(opened.images)} predicted ({counts})")
    if counts.without_face:
        raise typer.Exit(2)


@app.command("promote")
def promote() -> None:
    """Tag the registered model as the champion, if it beats the present one on the same benchmark (git, DVC, gto)."""
    from pipeline.promote import main as promote_main

    raise typer.Exit(promote_main())


@app.command("ingest")
def ingest(
    videos: Annotated[list[Path], typer.Argument(help="Video files, and folders of them.")],
    out: Annotated[Path, typer.Option(help="Where everything goes; named again with more videos, it appends.")],
    image_size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the crops, px.")] = 224,
    fps: Annotated[float, typer.Option(help="Frames taken a second.")] = 25,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")] = 0,
    identity: Annotated[str | None, typer.Option(help="Who it is, where all these videos show one person.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of these videos, kept with every clip.")] = "not stated",
    origin: Annotated[str, typer.Option(help="Where these videos come from, kept with every clip.")] = "not stated",
    repack: Annotated[bool, typer.Option(help="Write all shards anew instead of appending.")] = False,
) -> None:
    """Turn videos into training shards; the counts go to stdout as JSON, progress to stderr."""
    import logging

    from pipeline.corpus import VideoFacts
    from pipeline.ingest import IngestParams
    from pipeline.ingest_videos import ingest_videos
    from pipeline.shards import ShardsParams

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    params = IngestParams(image_size=image_size, fps=fps, num_workers=workers or "auto")
    facts = VideoFacts(identity=identity, licence=licence, origin=origin)
    print(json.dumps(ingest_videos(videos, out, params, ShardsParams(), facts, repack=repack), indent=1))


@app.command("takedown")
def takedown(
    video: Annotated[list[str] | None, typer.Option(help="Name of a video as the corpus lists it.")] = None,
    identity: Annotated[list[str] | None, typer.Option(help="A person: all their videos.")] = None,
    sha256: Annotated[list[str] | None, typer.Option(help="Hash of a video.")] = None,
    folder: Annotated[Path | None, typer.Option(help="What 'sheap ingest --out' made (default: this project).")] = None,
) -> None:
    """Remove videos from corpus, clips, shards and caches; print the proof as JSON. Exit code 2: a trace is left."""
    from pipeline.ingest_videos import IngestFolder
    from pipeline.takedown import Places, take_down

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


@shards_app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(help="A shard folder with its manifest.json.")]) -> None:
    """Compare every byte with the manifest: finds flipped bytes, cut tars, missing and extra files."""
    from sheap.data.manifest import verify_shards

    problems = verify_shards(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    print(f"{folder}: verified")


@shards_app.command("show")
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


@shards_app.command("stats")
def stats(folder: Annotated[Path, typer.Argument(help="A shard folder with its manifest.json.")]) -> None:
    """Print the manifest's counts as JSON."""
    from sheap.data.manifest import Manifest

    manifest = Manifest.read(folder)
    print(json.dumps(json.loads(manifest.model_dump_json(exclude={"splits": {"__all__": {"shards"}}})), indent=1))


def main() -> None:
    """Runs the command line. A user's mistake ends in one line and exit code 2."""
    from pipeline.stage import StageError

    try:
        app()
    except (StageError, ValueError, OSError) as error:
        print(f"sheap: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
