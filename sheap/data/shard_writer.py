"""Clips into WebDataset tars: the same clips always give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheap.data.manifest import INDEX_NAME, ShardInfo, SplitInfo
from sheap.data.schema import ClipRecord
from sheap.data.tar_writer import TarWriter, stored_size


@dataclass(frozen=True)
class ClipMembers:
    """One clip ready to be stored: its record and its files (name without prefix, content) in stored order."""

    record: ClipRecord
    members: list[tuple[str, bytes]]


def stored_order(clip_ids: Iterable[str], seed: int) -> list[str]:
    """Clips in an order that mixes identities and depends only on the ids and the seed, not on how they came."""
    return sorted(clip_ids, key=lambda clip_id: hashlib.sha256(f"{seed}/{clip_id}".encode()).digest())


def write_split(folder: Path, clips: Iterable[ClipMembers], *, target_bytes: int) -> SplitInfo:
    """Writes `shard-NNNNN.tar` files of about `target_bytes` each, and their index, into a new folder.

    A clip never straddles two shards; every file appears under its final name only when it is complete.
    """
    if target_bytes <= 0:
        raise ValueError(f"target_bytes: expected a positive number of bytes, got {target_bytes}")
    folder.mkdir(parents=True)
    shards: list[ShardInfo] = []
    index: list[dict[str, Any]] = []
    num_frames = 0
    identities: set[str] = set()
    for group in _groups(clips, target_bytes):
        name = f"shard-{len(shards):05d}.tar"
        temporary = folder / f".{name}.tmp"
        with temporary.open("wb") as file:
            writer = TarWriter(file)
            for clip in group:
                offsets = {
                    member: writer.add(f"{clip.record.clip_id}.{member}", content) for member, content in clip.members
                }
                index.append({"clip_id": clip.record.clip_id, "shard": name, "members": offsets})
                num_frames += clip.record.num_frames
                identities.add(clip.record.identity)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / name)
        shards.append(ShardInfo(
            name=name, num_bytes=writer.num_bytes, sha256=writer.sha256,
            num_clips=len(group), num_members=sum(len(clip.members) for clip in group),
        ))
    content = (json.dumps(index, separators=(",", ":")) + "\n").encode("utf-8")
    temporary = folder / f".{INDEX_NAME}.tmp"
    temporary.write_bytes(content)
    temporary.rename(folder / INDEX_NAME)
    return SplitInfo(
        shards=shards, index_sha256=hashlib.sha256(content).hexdigest(), num_clips=len(index), num_frames=num_frames,
        identities=sorted(identities),
    )


def _groups(clips: Iterable[ClipMembers], target_bytes: int) -> Iterator[list[ClipMembers]]:
    group: list[ClipMembers] = []
    size = 0
    for clip in clips:
        clip_size = sum(stored_size(len(content)) for _, content in clip.members)
        if group and size + clip_size > target_bytes:
            yield group
            group, size = [], 0
        group.append(clip)
        size += clip_size
    if group:
        yield group
