"""Stage `shards`: packs ingested clips into deterministic tars, split by identity, under one manifest."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.files.published_shards import PublishedShard, read_published
from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import atomic_directory, require_input, stage_main
from sheap.data.clip_file import CLIP_SUFFIX, read_clip_members, read_clip_record
from sheap.data.manifest import MANIFEST_NAME, SPLITS, Manifest, Split, SplitInfo, verify_shards
from sheap.data.reader import ShardReader
from sheap.data.schema import ClipRecord
from sheap.data.shard_writer import (
    ClipMembers,
    EarlierShards,
    SplitParts,
    StoredSplit,
    stored_order,
    write_shard,
    write_split,
)
from sheap.data.split import SplitPlan, plan_split
from sheap.files import write_bytes

CLIPS_DIR = Path("data/ingest/clips")
SHARDS_DIR = Path("data/shards")

log = logging.getLogger("shards")


class ShardsParams(StageParams):
    """Params section `shards`."""

    target_mb: Annotated[float, Field(gt=0)]
    """Size of one tar; a clip never straddles two."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)]
    """Share of the identities that the corpus has not assigned."""
    min_identities: Annotated[int, Field(ge=2)]
    """With fewer unassigned identities than this, none of them validates."""
    seed: int
    published: Path | None
    """A folder that `sheap corpus publish` made: its shards keep their bytes and its people their sides; new clips come after."""


def run(params: ShardsParams) -> None:
    """Reads data/ingest/clips, writes data/shards."""
    require_input(CLIPS_DIR, "ingest")
    write_shards(params, CLIPS_DIR, SHARDS_DIR)


def write_shards(params: ShardsParams, clips_dir: Path, shards_dir: Path) -> Manifest:
    """Packs all clips of a folder: those of published shards as they were, the others into new ones.

    Raises StageError when a published shard cannot be packed again as it was.
    """
    published = {} if params.published is None else read_published(params.published)
    records = _read_records(clips_dir)
    stored = {clip_id for shards in published.values() for shard in shards for clip_id in shard.clips}
    side = {who: split for split, shards in published.items() for shard in shards for who in shard.clips.values()}
    plan = _plan_new(params, records, stored, side)
    present = {record.clip_id for record in records}
    before = {split: _PublishedSplit(clips_dir, shards, present) for split, shards in published.items()}
    return _pack(params, plan, records, clips_dir, shards_dir, before)


@dataclass(frozen=True)
class _PublishedSplit:
    """A split's published shards, packed again from their clips."""

    clips_dir: Path
    shards: list[PublishedShard]
    present: set[str]

    def linked_into(self, folder: Path) -> SplitParts:
        parts = SplitParts()
        for shard in self.shards:
            kept = [clip_id for clip_id in shard.clips if clip_id in self.present]
            if len(kept) < len(shard.clips):
                log.warning("%s: %d clips are gone (taken down, or no longer ingested)", shard.name, len(shard.clips) - len(kept))
            if not kept:
                continue
            written = write_shard(folder, shard.name, _read_clips(self.clips_dir, kept))
            if len(kept) == len(shard.clips) and written.info.sha256 != shard.sha256:
                raise StageError(
                    f"params.yaml: shards.published: {shard.name}: its clips are not what was published (another setting or "
                    "version of ingest?); go back to that, or set shards.published to null and pack everything anew"
                )
            parts.add(written)
        return parts


def _plan_new(
    params: ShardsParams, records: list[ClipRecord], stored: set[str], side: Mapping[str, Split]
) -> SplitPlan:
    """Sides of the clips that are not stored yet: known people's are fixed, of new people `val_fraction` validates."""
    fixed = [
        record.model_copy(update={"split": side[record.identity]}) if record.identity in side else record
        for record in records
        if record.clip_id not in stored
    ]
    return plan_split(fixed, val_fraction=params.val_fraction, min_identities=params.min_identities, seed=params.seed)


def append_shards(params: ShardsParams, clips_dir: Path, shards_dir: Path) -> Manifest:
    """Packs the clips that the shards do not hold yet into further shards; those that exist stay as they are.

    Nobody changes sides: people of the existing shards stay where they are, and of new ones `val_fraction` validates.
    Raises StageError when a clip of the shards is missing or different now; then everything must be packed anew.
    """
    problems = verify_shards(shards_dir)
    if problems:
        raise StageError(problems[0])
    manifest = Manifest.read(shards_dir)
    before = {name: StoredSplit(shards_dir / name, info) for name, info in manifest.splits.items()}
    records = _read_records(clips_dir)
    now = {record.clip_id: record for record in records}
    stored: set[str] = set()
    for name in before:
        with closing(ShardReader(shards_dir / name, verify_hashes=False)) as reader:
            for number in range(len(reader)):
                if reader.record(number) != now.get(reader.clip_id(number)):
                    raise StageError(f"{reader.clip_id(number)}: the shards hold another state of it; pack them anew")
            stored.update(reader.clip_ids)
    side = {identity: name for name, info in manifest.splits.items() for identity in info.identities}
    plan = _plan_new(params, records, stored, side)
    return _pack(params, plan, records, clips_dir, shards_dir, before)


def _read_records(clips_dir: Path) -> list[ClipRecord]:
    records = [read_clip_record(path) for path in sorted(clips_dir.iterdir())]
    if not records:
        raise StageError(f"{clips_dir}: no clips; {clips_dir.parent}/ingest.json says why every video was dropped")
    sizes = sorted({record.image_size for record in records})
    if len(sizes) > 1:
        raise StageError(f"{clips_dir}: crops of different sizes {sizes}; run ingest again")
    return records


def _pack(
    params: ShardsParams,
    plan: SplitPlan,
    records: list[ClipRecord],
    clips_dir: Path,
    shards_dir: Path,
    before: Mapping[Split, EarlierShards],
) -> Manifest:
    chosen: dict[Split, list[str]] = {"train": plan.train, "val": plan.val}
    if not plan.train and "train" not in before:
        raise StageError(f"{clips_dir}: every identity is assigned to validation; nobody is left to train on")
    with atomic_directory(shards_dir) as folder:
        splits: dict[Split, SplitInfo] = {}
        for name in SPLITS:
            if chosen[name] or name in before:
                splits[name] = write_split(
                    folder / name,
                    _read_clips(clips_dir, stored_order(chosen[name], params.seed)),
                    target_bytes=int(params.target_mb * 1e6),
                    before=before.get(name),
                )
        notes = plan.notes if "val" not in splits else []
        manifest = Manifest(image_size=records[0].image_size, splits=splits, notes=notes).sealed()
        write_bytes(folder / MANIFEST_NAME, manifest.to_json())
        problems = verify_shards(folder)
        if problems:
            raise OSError(f"what was written does not read back: {problems[0]}")
    for name, info in splits.items():
        log.info(
            "%s: %d clips, %d frames, %d identities in %d shards",
            name, info.num_clips, info.num_frames, len(info.identities), len(info.shards),
        )  # fmt: skip
    for note in notes:
        log.warning("%s", note)
    return manifest


def _read_clips(clips_dir: Path, clip_ids: Iterable[str]) -> Iterator[ClipMembers]:
    for clip_id in clip_ids:
        yield ClipMembers(*read_clip_members(clips_dir / f"{clip_id}{CLIP_SUFFIX}"))


if __name__ == "__main__":
    sys.exit(stage_main("shards", ShardsParams, run))
