"""`sheap ingest`: videos to shards in one folder, without the project around it; with more videos, it appends."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from pipeline.corpus import CorpusBuilder, VideoFacts, folder_files, name_problem
from pipeline.files.corpus_file import CORPUS_NAME, Corpus, write_corpus
from pipeline.ingest import CLIPS_NAME, IngestParams, ingest_corpus
from pipeline.reporting.contact_sheet import write_contact_sheet
from pipeline.run.known_hashes import KnownHashes
from pipeline.run.settings import StageError
from pipeline.shards import ShardsParams, append_shards, write_shards
from sheap.data.manifest import MANIFEST_NAME
from sheap.files import write_json, write_text
from sheap.reading.text import read_text
from sheap.results.inputs import expanded_places
from sheap.results.names import distinct_labels

log = logging.getLogger("ingest")


@dataclass(frozen=True)
class IngestFolder:
    """Where things lie below the folder that a user names."""

    root: Path

    @property
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def ingest(self) -> Path:
        return self.root / "ingest"

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def work(self) -> Path:
        """Finished videos, reused by every later run."""
        return self.root / ".work"

    @property
    def hashes(self) -> Path:
        """Hashes of files that were read before."""
        return self.work / "hashes.db"

    @property
    def excluded(self) -> Path:
        """SHA-256s of videos that were taken down, one a line."""
        return self.root / "excluded.txt"

    @property
    def sheet(self) -> Path:
        return self.root / "contact_sheet.html"

    def exclude(self, hashes: Iterable[str]) -> None:
        """Keeps videos from coming in again."""
        write_text(self.excluded, "".join(f"{sha256}\n" for sha256 in sorted(self.excluded_hashes() | set(hashes))))

    def excluded_hashes(self) -> set[str]:
        return set(read_text(self.excluded).split()) if self.excluded.exists() else set()


def ingest_videos(
    places: Iterable[Path],
    out: Path,
    ingest_params: IngestParams,
    shards_params: ShardsParams,
    facts: VideoFacts,
    *,
    repack: bool = False,
) -> dict[str, Any]:
    """Adds video files, and those in folders, to what `out` holds. Returns a summary of everything in it.

    repack: writes all shards anew instead of appending to them. Raises StageError for a user's mistake.
    """
    try:
        places = expanded_places(places, "videos")
    except ValueError as error:  # a mistyped path is told before anything is made
        raise StageError(str(error)) from None
    folder = IngestFolder(out)
    folder.work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.work / "lock", timeout=0):
            corpus = _grown_corpus(folder, places, facts)
            counts = ingest_corpus(ingest_params, corpus, folder.ingest, folder.work / "videos")
            append = not repack and (folder.shards / MANIFEST_NAME).exists()
            pack = append_shards if append else write_shards
            manifest = pack(shards_params, folder.ingest / CLIPS_NAME, folder.shards)
            write_contact_sheet(folder.shards, folder.ingest, folder.sheet)
    except Timeout:
        raise StageError(f"{out}: another ingestion is running there; wait for it or end it") from None
    summary = {
        "out": str(out),
        "skipped_files": corpus.skipped_counts,
        "ingest": counts,
        "shards": {
            name: {"shards": len(info.shards), "clips": info.num_clips, "frames": info.num_frames}
            for name, info in manifest.splits.items()
        },
        "data_hash": manifest.data_hash,
        "contact_sheet": str(folder.sheet),
    }
    write_json(out / "summary.json", summary)
    return summary


def _grown_corpus(folder: IngestFolder, places: Iterable[Path], facts: VideoFacts) -> Corpus:
    """What the folder lists already, and the new videos."""
    with KnownHashes(folder.hashes) as hashes:
        return _list_videos(folder, places, facts, CorpusBuilder(hashes, folder.excluded_hashes()))


def _list_videos(folder: IngestFolder, places: Iterable[Path], facts: VideoFacts, builder: CorpusBuilder) -> Corpus:
    if (folder.corpus / CORPUS_NAME).exists():
        for video in Corpus.read(folder.corpus).videos:
            builder.adopt(video)
    # a folder's files are called by their path below it, a file by its own name, and with folders above where names meet
    offered: dict[Path, int] = {}
    for place in places:
        for path, name in folder_files(place) if place.is_dir() else [(place, place.name)]:
            offered.setdefault(path.absolute(), len(PurePosixPath(name).parts))
    names = distinct_labels(list(offered), list(offered.values()), builder.is_called)
    for path, name in zip(offered, names, strict=True):
        if (problem := name_problem(path)) is not None:
            builder.skip(name, *problem)
        else:
            builder.take(path, name, facts, VideoFacts())
    corpus = builder.finish()
    if not corpus.videos:
        raise StageError("no video among what was named: " + (json.dumps(corpus.skipped_counts) or "nothing was named"))
    write_corpus(corpus, folder.corpus)
    return corpus
