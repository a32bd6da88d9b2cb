"""corpus.json: the videos of a corpus with their hashes, people, licences and origins."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.run.stage import atomic_directory
from sheap.files import write_json

CORPUS_DIR = Path("data/corpus")
CORPUS_NAME = "corpus.json"

log = logging.getLogger("corpus")


class TruthFile(BaseModel):
    """Where the truth of a rendered video is (see sheap.people.clips.clip_truth); its path is written as a video's is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str


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
    truth: TruthFile | None = None
    """Of rendered videos only."""


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


def write_corpus(corpus: Corpus, corpus_dir: Path) -> None:
    """Writes corpus.json into a folder of its own."""
    with atomic_directory(corpus_dir) as folder:
        write_json(folder / CORPUS_NAME, corpus.model_dump(mode="python"))
    people = len({video.identity for video in corpus.videos})
    log.info("%d videos, %d identities, skipped %s", len(corpus.videos), people, corpus.skipped_counts or "none")
