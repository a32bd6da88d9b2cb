"""`sheap takedown`: removes a person or a video from everything that ingestion has made of them, and proves it.

What is removed: the video's line in the corpus, its clips and its line in the ingest folder, its clips in the shards (only
the shards that hold one are written anew), the finished work that a later run would reuse, and every file of DVC's
cache in which it is still found. The proof is a search of every remaining file for the video's hash, the names of its
clips, its own name and, where nobody else of that identity is left, the identity. The original video is the user's own: it
is named, not deleted. A model trained on the clips cannot forget them; such folders are named, too.
"""

from __future__ import annotations

import json
import logging
import mmap
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.commands.ingest_videos import IngestFolder
from pipeline.corpus import HASHES_FILE
from pipeline.files.corpus_file import CORPUS_DIR, CORPUS_NAME, Corpus, CorpusVideo, write_corpus
from pipeline.files.published_shards import PUBLISHED_DIR, write_published
from pipeline.ingest import CLIPS_NAME, DROPPED_NAME, INGEST_DIR, INGEST_NAME, REPORT_NAME, WORK_DIR, summarize
from pipeline.reporting.contact_sheet import write_contact_sheet
from pipeline.run.settings import StageError
from pipeline.run.stage import atomic_directory
from pipeline.shards import SHARDS_DIR
from sheap.data.clip_file import CLIP_SUFFIX
from sheap.data.manifest import MANIFEST_NAME, Manifest, Split, SplitInfo, verify_shards
from sheap.data.shard_writer import StoredSplit, link_or_copy
from sheap.data.tar_writer import read_tar, write_tar
from sheap.files import write_bytes, write_json

log = logging.getLogger("takedown")

LEAST_NAME = 5
"""Shorter names are no proof of anything: a search would find them in the middle of pictures."""

DERIVED = tuple(map(Path, ("data/model", "data/registry", "data/report", "data/evaluation", ".sheap/checkpoints")))


@dataclass(frozen=True)
class Places:
    """Where traces of a video can be."""

    corpus: Path
    ingest: Path
    shards: Path
    work: Path
    sheet: Path
    """A contact sheet, drawn anew where there is one."""
    caches: tuple[Path, ...]
    """Content-addressed: files in which a trace is found are deleted."""
    searched: tuple[Path, ...]
    derived: tuple[Path, ...] = ()
    published: Path | None = None
    """What `sheap corpus publish` has noted of the shards."""
    hashes: Path | None = None
    """Hashes of files that were read before; begun anew."""

    @classmethod
    def of_project(cls) -> Places:
        """The stages' folders of the project in the working directory."""
        cache = Path(".dvc/cache")
        searched = (Path("data"), Path(".sheap"), Path("dvc.lock"), PUBLISHED_DIR, cache)
        sheet = SHARDS_DIR.parent / IngestFolder(Path()).sheet
        return cls(CORPUS_DIR, INGEST_DIR, SHARDS_DIR, WORK_DIR, sheet, (cache,), searched, DERIVED, PUBLISHED_DIR, HASHES_FILE)

    @classmethod
    def of_folder(cls, root: Path) -> Places:
        """What `sheap ingest --out` has made."""
        folder = IngestFolder(root)
        return cls(
            folder.corpus, folder.ingest, folder.shards, folder.work / "videos", folder.sheet, (), (root,), hashes=folder.hashes
        )


@dataclass(frozen=True)
class Traces:
    """What betrays the removed videos, as bytes to search for."""

    tokens: tuple[bytes, ...]

    @classmethod
    def of(cls, removed: Iterable[CorpusVideo], left: Collection[CorpusVideo], clip_ids: Iterable[str]) -> Traces:
        """left: videos that stay; a text that is found in what they are called betrays nobody."""
        texts = {text for clip_id in clip_ids for text in (clip_id, clip_id.rsplit("-", 1)[0])}
        for video in removed:
            texts |= {video.sha256, video.sha256[:12], video.name, Path(video.name).name}
            texts.add(video.identity)
        of_others = [text for video in left for text in (video.name, video.path, video.identity)]
        texts = {text for text in texts if not any(text in other for other in of_others)}
        written = texts | {json.dumps(text)[1:-1] for text in texts}
        return cls(tuple(sorted(text.encode() for text in written if len(text) >= LEAST_NAME)))

    def in_file(self, path: Path) -> bool:
        if path.stat().st_size == 0:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(token) >= 0 for token in self.tokens) or self._in_name(path)

    def _in_name(self, path: Path) -> bool:
        return any(token in path.name.encode("utf-8", "surrogateescape") for token in self.tokens)


def take_down(
    places: Places, *, videos: Collection[str] = (), identities: Collection[str] = (), hashes: Collection[str] = ()
) -> dict[str, Any]:
    """Removes the videos that are called so, show such people or have such SHA-256s. Returns the proof.

    Raises StageError when something that was named is not in the corpus.
    """
    corpus = Corpus.read(places.corpus)
    named = [one_video_called(name, corpus, places) for name in videos]
    removed = [v for v in corpus.videos if v in named or v.identity in identities or v.sha256 in hashes]
    known = {text for video in removed for text in (video.identity, video.sha256)}
    unknown = sorted({*identities, *hashes} - known)
    if unknown or not removed:
        raise StageError(f"not in {places.corpus / CORPUS_NAME}: {', '.join(unknown) or 'nothing was named'}")
    gone = {video.sha256 for video in removed}
    left = [video for video in corpus.videos if video.sha256 not in gone]
    starts = {sha256[:8] for sha256 in gone}
    clip_ids = {clip for clip in _clip_ids(places) if clip.rsplit("-", 2)[-2] in starts}
    traces = Traces.of(removed, left, clip_ids)

    log.info("removing %d videos with %d clips", len(removed), len(clip_ids))
    skipped = [item for item in corpus.skipped if not traces_in(item, traces)]
    counts = dict(sorted(Counter(item["reason"] for item in skipped).items()))
    write_corpus(corpus.model_copy(update={"videos": left, "skipped": skipped, "skipped_counts": counts}), places.corpus)
    _clean_shards(places.shards, clip_ids)
    if places.published is not None and places.published.exists() and (places.shards / MANIFEST_NAME).exists():
        write_published(places.shards, places.published)
    _clean_ingest(places.ingest, gone, clip_ids)
    work = _remove_work(places.work, gone)
    if places.hashes is not None:
        places.hashes.unlink(missing_ok=True)
    if places.sheet.exists():
        places.sheet.unlink()
        if (places.shards / MANIFEST_NAME).exists():
            write_contact_sheet(places.shards, places.ingest, places.sheet)
    cached = [path for cache in places.caches for path in _files(cache) if traces.in_file(path)]
    for path in cached:
        path.unlink()
    return {
        "removed": [
            {"sha256": video.sha256, "original": "still there" if Path(video.path).exists() else "absent"}
            for video in removed
        ],
        "removed_clips": len(clip_ids),
        "removed_finished_work": work,
        "removed_cache_files": len(cached),
        "data_hash": Manifest.read(places.shards).data_hash if (places.shards / MANIFEST_NAME).exists() else None,
        "shards_verify": verify_shards(places.shards) if (places.shards / MANIFEST_NAME).exists() else [],
        **search(places, traces),
        "made_from_it": [str(path) for path in places.derived if path.exists()],
    }


def one_video_called(name: str, corpus: Corpus, places: Places) -> CorpusVideo:
    """The one video that is called so, or whose name ends so. Raises StageError with the candidates where it may be several."""
    candidates = [video for video in corpus.videos if video.name == name or video.name.endswith(f"/{name}")]
    if not candidates:
        raise StageError(f"not in {places.corpus / CORPUS_NAME}: {name}")
    if len(candidates) > 1:
        listed = "; ".join(f"{video.name} of {video.identity} ({video.path}): --sha256 {video.sha256}" for video in candidates)
        raise StageError(f"--video {name}: may be any of {len(candidates)} videos, name one by its hash: {listed}")
    if candidates[0].name != name:
        raise StageError(f"not in {places.corpus / CORPUS_NAME}: {name}; did you mean --video {candidates[0].name}?")
    return candidates[0]


def search(places: Places, traces: Traces) -> dict[str, Any]:
    """Looks for the traces in every file of every place."""
    files = num_bytes = 0
    found = []
    for place in places.searched:
        for path in _files(place):
            files += 1
            num_bytes += path.stat().st_size
            if traces.in_file(path):
                found.append(str(path))
    return {
        "searched_for": len(traces.tokens),
        "searched_files": files,
        "searched_bytes": num_bytes,
        "still_found_in": found,
    }


def traces_in(item: dict[str, str], traces: Traces) -> bool:
    """Whether a line of the list of skipped files speaks of a removed video."""
    text = json.dumps(item, ensure_ascii=False).encode()
    return any(token in text for token in traces.tokens)


def _clip_ids(places: Places) -> Iterator[str]:
    """All clips that the ingest folder or the shards know of."""
    yield from (path.stem for path in _files(places.ingest / CLIPS_NAME))
    if (places.shards / MANIFEST_NAME).exists():
        manifest = Manifest.read(places.shards)
        for name, info in manifest.splits.items():
            yield from (entry["clip_id"] for entry in StoredSplit(places.shards / name, info).index())


def _clean_shards(shards_dir: Path, clip_ids: Collection[str]) -> None:
    if not (shards_dir / MANIFEST_NAME).exists():
        return
    problems = verify_shards(shards_dir)
    if problems:
        raise StageError(problems[0])
    manifest = Manifest.read(shards_dir)
    splits: dict[Split, SplitInfo] = {}
    with atomic_directory(shards_dir) as folder:
        for name, info in manifest.splits.items():
            left = StoredSplit(shards_dir / name, info).without(clip_ids, folder / name)
            if left is None:
                shutil.rmtree(folder / name)
            else:
                splits[name] = left
        sealed = manifest.model_copy(update={"splits": splits}).sealed()
        write_bytes(folder / MANIFEST_NAME, sealed.to_json())


def _clean_ingest(ingest_dir: Path, gone: Collection[str], clip_ids: Collection[str]) -> None:
    """The ingest folder without the videos; pictures of dropped frames are numbered anew."""
    if not (ingest_dir / INGEST_NAME).exists():
        return
    document = json.loads((ingest_dir / INGEST_NAME).read_bytes())
    kept = [number for number, video in enumerate(document["videos"]) if video["sha256"] not in gone]
    new_number = {old: new for new, old in enumerate(kept)}
    names = {video["video"] for video in document["videos"] if video["sha256"] in gone}
    videos = [document["videos"][number] for number in kept]
    for video in videos:  # a copy's line names its original
        if video["detail"] and any(name in video["detail"] for name in names):
            video["detail"] = "its original was taken down"
    with atomic_directory(ingest_dir) as folder:
        (folder / CLIPS_NAME).mkdir()
        for path in sorted((ingest_dir / CLIPS_NAME).iterdir()):
            if path.name.removesuffix(CLIP_SUFFIX) not in clip_ids:
                link_or_copy(path, folder / CLIPS_NAME / path.name)
        pictures = []
        for name, content in read_tar(ingest_dir / DROPPED_NAME):
            number, rest = name.split("-", 1)
            if int(number) in new_number:
                pictures.append((f"{new_number[int(number)]:06d}-{rest}", content))
        write_tar(folder / DROPPED_NAME, pictures)
        summary = document["summary"] | summarize(videos)
        write_json(folder / INGEST_NAME, {"summary": summary, "videos": videos})


def _remove_work(work_dir: Path, gone: Collection[str]) -> int:
    """Finished and half-finished work on the videos, under whatever settings."""
    removed = 0
    for folder in sorted(work_dir.glob("*/*")):
        report = folder / REPORT_NAME
        named = any(folder.name.startswith(sha256[:16]) for sha256 in gone)
        if named or (report.exists() and json.loads(report.read_bytes())["sha256"] in gone):
            shutil.rmtree(folder)
            removed += 1
    return removed


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir():
        yield from (path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink())
