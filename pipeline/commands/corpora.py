"""`sheap corpus`: the list of corpora in params.yaml, and what later packing keeps of published shards."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.files.published_shards import PUBLISHED_DIR, write_published
from pipeline.run.dvc_file import rewritten
from pipeline.run.params_changes import changed_text
from pipeline.run.settings import DVC_FILE, OWN_CORPUS_FILE, PARAMS_FILE, StageError, load_params
from sheap.files import write_text

app = typer.Typer(no_args_is_help=True, help="Corpora that the project trains on: add one, list them, publish their shards.")


@app.command("add")
def add(
    folder: Annotated[Path, typer.Argument(help="Of videos, searched with all its subfolders.")],
    name: Annotated[str | None, typer.Option(help="What its videos' names begin with; the folder's own without one.")] = None,
    licence: Annotated[str, typer.Option(help="Of the videos, kept with every clip.")] = "not stated",
    origin: Annotated[str, typer.Option(help="Where they come from, kept with every clip.")] = "not stated",
    consent: Annotated[str, typer.Option(help="What those who are seen have agreed to.")] = "not stated",
    identities: Annotated[str | None, typer.Option(help="Name of a CSV table in the folder: video, identity, split.")] = None,
) -> None:
    """Append a corpus to params.yaml and its folder to dvc.yaml; the next run ingests what is new and no more."""
    added = add_corpus(folder, name, licence=licence, origin=origin, consent=consent, identities=identities)
    print(f"corpus '{added}' is on the list; 'dvc repro' takes it in, and git diff shows what changed")


@app.command("list")
def show() -> None:
    """Print the corpora as JSON, the first one first."""
    from pipeline.corpus import CorpusParams

    params = load_params("corpus", CorpusParams)
    first = {"name": "", "folder": str(params.folder), "licence": params.licence, "origin": params.origin}
    print(json.dumps([first, *(item.model_dump(mode="json") for item in params.further)], indent=1))


@app.command("publish")
def publish() -> None:
    """Note which clips lie in which shard: from now on these shards keep their bytes, and everybody their side."""
    changed = publish_shards()
    print(f"{PUBLISHED_DIR}: {changed} shards are noted; commit {PUBLISHED_DIR}.dvc, {PARAMS_FILE} and {DVC_FILE}")


def add_corpus(
    folder: Path, name: str | None, *, licence: str, origin: str, consent: str, identities: str | None = None
) -> str:
    """Appends a corpus in the current folder's project; gives its name. Raises StageError for what cannot be one."""
    from pipeline.corpus import CorpusParams, folder_files, name_problem

    if OWN_CORPUS_FILE.exists():
        raise StageError(
            f"{OWN_CORPUS_FILE}: this checkout has a corpus of its own, which stands for all others; remove it first "
            "(local/README.md)"
        )
    params = load_params("corpus", CorpusParams)
    folder = folder.expanduser().resolve()
    if not any(name_problem(path) is None for path, _ in folder_files(folder, "corpus")):
        raise StageError(f"corpus: {folder}: holds no video")
    known = {item.name: item.folder.resolve() for item in params.further}
    if folder in (params.folder.resolve(), *known.values()):
        raise StageError(f"corpus: {folder}: is on the list already; videos that were added to it come in by themselves")
    name = name or re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).strip("-._") or "corpus"
    if name in known:
        raise StageError(f"corpus: '{name}' is another folder's name ({known[name]}); give this one its own (--name)")
    entry: dict[str, Any] = {
        "name": name, "folder": _portable(folder), "licence": licence, "origin": origin, "consent": consent,
        "identities": identities,
    }  # fmt: skip
    before = PARAMS_FILE.read_text(encoding="utf-8")
    further = [*(item.model_dump(mode="json") for item in params.further), entry]
    write_text(PARAMS_FILE, changed_text(before, {"corpus.further": further}))
    try:
        load_params("corpus", CorpusParams)
        _list_dependencies()
    except BaseException:
        write_text(PARAMS_FILE, before)
        raise
    return name


def publish_shards() -> int:
    """Writes the lists of data/shards into `published`, tracked by DVC, and names it in params.yaml; gives how many changed."""
    from pipeline.shards import SHARDS_DIR

    if not SHARDS_DIR.exists():
        raise StageError(f"{SHARDS_DIR}: missing; run the 'shards' stage first (dvc repro shards)")
    changed = write_published(SHARDS_DIR, PUBLISHED_DIR)
    done = subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", str(PUBLISHED_DIR)], capture_output=True, text=True)
    if done.returncode:
        raise StageError(f"{PUBLISHED_DIR}: dvc add: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    write_text(PARAMS_FILE, changed_text(PARAMS_FILE.read_text(encoding="utf-8"), {"shards.published": str(PUBLISHED_DIR)}))
    _list_dependencies()
    return changed


def _list_dependencies() -> None:
    """Makes dvc.yaml watch what params.yaml names."""
    write_text(DVC_FILE, rewritten(DVC_FILE.read_text(encoding="utf-8")))


def _portable(folder: Path) -> str:
    project = Path.cwd().resolve()
    return str(folder.relative_to(project) if folder.is_relative_to(project) else folder)
