"""Stage `shards`: packs ingested clips into deterministic tars, split by identity, under one manifest."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.stage import StageError, StageParams, atomic_directory, require_input, stage_main
from sheap.data.clip_file import CLIP_SUFFIX, read_clip_members, read_clip_record
from sheap.data.manifest import MANIFEST_NAME, Manifest, SplitInfo, verify_shards
from sheap.data.shard_writer import ClipMembers, stored_order, write_split
from sheap.data.split import plan_split

CLIPS_DIR = Path("data/ingest/clips")
SHARDS_DIR = Path("data/shards")

log = logging.getLogger("shards")


class ShardsParams(StageParams):
    """Params section `shards`."""

    target_mb: Annotated[float, Field(gt=0)] = 64
    """Size of one tar; a clip never straddles two."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the identities that the corpus has not assigned."""
    min_identities: Annotated[int, Field(ge=2)] = 4
    """With fewer unassigned identities than this, none of them validates."""
    seed: int = 0


def run(params: ShardsParams) -> None:
    """Reads data/ingest/clips, writes data/shards."""
    require_input(CLIPS_DIR, "ingest")
    records = {path.stem: read_clip_record(path) for path in sorted(CLIPS_DIR.iterdir())}
    if not records:
        raise StageError(f"{CLIPS_DIR}: no clips; data/ingest/ingest.json says why every video was dropped")
    sizes = sorted({record.image_size for record in records.values()})
    if len(sizes) > 1:
        raise StageError(f"{CLIPS_DIR}: crops of different sizes {sizes}; run ingest again")
    plan = plan_split(
        list(records.values()), val_fraction=params.val_fraction, min_identities=params.min_identities, seed=params.seed
    )
    if not plan.train:
        raise StageError(f"{CLIPS_DIR}: every identity is assigned to validation; nobody is left to train on")
    with atomic_directory(SHARDS_DIR) as folder:
        splits: dict[str, SplitInfo] = {}
        for name, clip_ids in (("train", plan.train), ("val", plan.val)):
            if clip_ids:
                splits[name] = write_split(
                    folder / name, _load(clip_ids, params.seed), target_bytes=int(params.target_mb * 1e6)
                )
        manifest = Manifest(image_size=sizes[0], splits=splits, notes=plan.notes).sealed()  # type: ignore[arg-type]
        (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
        problems = verify_shards(folder)
        if problems:
            raise OSError(f"what was written does not read back: {problems[0]}")
    for name, info in splits.items():
        log.info(
            "%s: %d clips, %d frames, %d identities in %d shards",
            name, info.num_clips, info.num_frames, len(info.identities), len(info.shards),
        )
    for note in plan.notes:
        log.warning("%s", note)


def _load(clip_ids: list[str], seed: int) -> Iterator[ClipMembers]:
    for clip_id in stored_order(clip_ids, seed):
        yield ClipMembers(*read_clip_members(CLIPS_DIR / f"{clip_id}{CLIP_SUFFIX}"))


if __name__ == "__main__":
    sys.exit(stage_main("shards", ShardsParams, run))
