"""A finished training's folder: kept until DVC has recorded the model that was made of it.

Between the last step and DVC's record lies a gap: DVC removes an old data/model before the stage, and hashes the new one after
it. A kill in that gap must not cost the training, so its last checkpoint stays until DVC's lock file or run cache has the model.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sheap.files import write_json, write_text

FINISHED_NAME = "finished.json"
MODEL_NOTE_NAME = "model.md5"

log = logging.getLogger("train")


def read_finished(folder: Path) -> dict[str, Any] | None:
    """What was noted when the run in this folder came to its last step; None while it has not."""
    path = folder / FINISHED_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_finished(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Notes that the run came to its last step; only its newest checkpoint stays. Gives the facts."""
    for old in sorted(path for path in folder.glob("checkpoint_*") if path.is_dir())[:-1]:
        shutil.rmtree(old)
    write_json(folder / FINISHED_NAME, facts)
    return facts


def note_made_model(folder: Path, model: Path) -> None:
    """Notes under which hash DVC will record the model that was made of the run."""
    write_text(folder / MODEL_NOTE_NAME, dvc_folder_hash(model))


def dvc_folder_hash(folder: Path) -> str:
    """The hash of a folder as DVC computes it: of the list of its files with their MD5s."""
    files = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()} for path in folder.rglob("*") if path.is_file()
    ]
    listing = json.dumps(sorted(files, key=lambda file: file["relpath"]), sort_keys=True)
    return f"{hashlib.md5(listing.encode('utf-8')).hexdigest()}.dir"


def forget_recorded(checkpoints: Path, keep: Path) -> None:
    """Removes the folders of finished runs, `keep` excepted, whose model DVC has recorded in this project."""
    noted = {path: path.read_text(encoding="utf-8") for path in sorted(checkpoints.glob(f"*/{MODEL_NOTE_NAME}"))}
    wanted = {note for path, note in noted.items() if path.parent != keep}
    if not wanted:
        return
    recorded = {note for text in _dvc_records() for note in wanted if note in text}
    for path, note in noted.items():
        if note in recorded and path.parent != keep:
            log.info("%s: its model is recorded, the checkpoint goes", path.parent.name)
            shutil.rmtree(path.parent)


def _dvc_records() -> Iterator[str]:
    """What DVC knows of finished stages: its lock file, and one file a run in its run cache; nothing without DVC."""
    from dvc.exceptions import NotDvcRepoError  # a second: only those who have something to forget wait for it
    from dvc.repo import Repo

    try:
        repo = Repo(uninitialized=False)
    except NotDvcRepoError:
        return
    with repo:
        lock, run_cache = Path(repo.root_dir) / "dvc.lock", Path(repo.stage_cache.cache_dir)
    if lock.exists():
        yield lock.read_text(encoding="utf-8")
    for path in run_cache.rglob("*"):
        if path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
