"""Clips into WebDataset tars, by its own writer: the same clips always give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sheap.data.manifest import INDEX_NAME, ShardInfo, SplitInfo, file_sha256
from sheap.data.schema import ClipRecord
from sheap.data.tar_writer import stored_size
from sheap.files import whole_path, write_bytes


@dataclass(frozen=True)
class ClipMembers:
    """One clip ready to be stored: its record and its files (name without prefix, content) in stored order."""

    record: ClipRecord
    members: list[tuple[str, bytes]]


def stored_order(clip_ids: Iterable[str], seed: int) -> list[str]:
    """Clips in an order that mixes identities and depends only on the ids and the seed, not on how they came."""
    return sorted(clip_ids, key=lambda clip_id: hashlib.sha256(f"{seed}/{clip_id}".encode()).digest())


class EarlierShards(Protocol):
    """Shards of a split that come before new ones."""

    def linked_into(self, folder: Path) -> SplitParts:
        """Puts them into an empty folder, and says what they hold."""
        ...


def write_split(
    folder: Path, clips: Iterable[ClipMembers], *, target_bytes: int, before: EarlierShards | None = None
) -> SplitInfo:
    """Writes `shard-NNNNN.tar` files of about `target_bytes` each, and their index, into a new folder.

    A clip never straddles two shards. before: shards that are taken over as they are; the clips come after.
    """
    if target_bytes <= 0:
        raise ValueError(f"target_bytes: expected a positive number of bytes, got {target_bytes}")
    folder.mkdir(parents=True)
    parts = SplitParts() if before is None else before.linked_into(folder)
    number = parts.next_number()
    for group in _groups(clips, target_bytes):
        parts.add(write_shard(folder, f"shard-{number:05d}.tar", group))
        number += 1
    return parts.finish(folder)


@dataclass(frozen=True)
class WrittenShard:
    """A shard with its part of the index."""

    info: ShardInfo
    entries: list[dict[str, Any]]
    num_frames: int
    identities: set[str]


def write_shard(folder: Path, name: str, clips: Iterable[ClipMembers]) -> WrittenShard:
    """Writes one tar; it appears under its name only when it is complete and reads back.

    Raises OSError when it does not.
    """
    from webdataset import TarWriter  # brings torch along, which others who import this module do without

    lengths: list[tuple[str, str, int]] = []
    num_frames = 0
    identities: set[str] = set()
    with whole_path(folder / name) as temporary:
        with temporary.open("wb") as file, TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as writer:
            for clip in clips:
                key = clip.record.clip_id
                for member, content in clip.members:  # one by one: a whole sample would be sorted by name
                    writer.write({"__key__": key, member: content})
                    lengths.append((key, member, len(content)))
                num_frames += clip.record.num_frames
                identities.add(clip.record.identity)
        entries = _read_back(temporary, name, lengths)
        info = ShardInfo(
            name=name, num_bytes=temporary.stat().st_size, sha256=file_sha256(temporary), num_clips=len(entries),
            num_members=len(lengths),
        )  # fmt: skip
    return WrittenShard(info, entries, num_frames, identities)


def _read_back(path: Path, shard: str, lengths: list[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """The index of a tar just written, from its own headers, which must be of these (key, member, length)."""
    with tarfile.open(path, "r:") as archive:
        found = [(info.name, info.size, info.offset_data) for info in archive]
    if [(name, size) for name, size, _ in found] != [(f"{key}.{member}", size) for key, member, size in lengths]:
        raise OSError(f"{path}: what was written does not read back")
    entries: list[dict[str, Any]] = []
    for (key, member, length), (_, _, offset) in zip(lengths, found, strict=True):
        if not entries or entries[-1]["clip_id"] != key:
            entries.append({"clip_id": key, "shard": shard, "members": {}})
        entries[-1]["members"][member] = (offset, length)
    return entries


@dataclass
class SplitParts:
    """Shards of a split as they come together."""

    shards: list[ShardInfo] = field(default_factory=list)
    index: list[dict[str, Any]] = field(default_factory=list)
    num_frames: int = 0
    identities: set[str] = field(default_factory=set)

    def add(self, shard: WrittenShard) -> None:
        self.shards.append(shard.info)
        self.index += shard.entries
        self.num_frames += shard.num_frames
        self.identities |= shard.identities

    def next_number(self) -> int:
        """Number of the next new shard; a removed one's is not used again while later ones exist."""
        return 1 + max((int(shard.name[6:-4]) for shard in self.shards), default=-1)

    def finish(self, folder: Path) -> SplitInfo:
        """Writes the index."""
        content = (json.dumps(self.index, separators=(",", ":")) + "\n").encode("utf-8")
        write_bytes(folder / INDEX_NAME, content)
        return SplitInfo(
            shards=self.shards, index_sha256=hashlib.sha256(content).hexdigest(), num_clips=len(self.index),
            num_frames=self.num_frames, identities=sorted(self.identities),
        )  # fmt: skip


@dataclass(frozen=True)
class StoredSplit:
    """A split on disk that has been verified."""

    folder: Path
    info: SplitInfo

    def index(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / INDEX_NAME).read_bytes())

    def linked_into(self, folder: Path) -> SplitParts:
        """All its shards under second names in another folder."""
        for shard in self.info.shards:
            link_or_copy(self.folder / shard.name, folder / shard.name)
        return SplitParts(list(self.info.shards), self.index(), self.info.num_frames, set(self.info.identities))

    def without(self, clip_ids: Collection[str], folder: Path) -> SplitInfo | None:
        """The same split less some clips, in a new folder; None when nothing is left.

        Shards without any of them are taken over as they are.
        """
        folder.mkdir(parents=True)
        by_shard: dict[str, list[dict[str, Any]]] = {}
        for entry in self.index():
            by_shard.setdefault(entry["shard"], []).append(entry)
        parts = SplitParts()
        for shard in self.info.shards:
            kept = [entry for entry in by_shard[shard.name] if entry["clip_id"] not in clip_ids]
            clips = self._clips(shard.name, kept)
            if len(kept) == shard.num_clips:
                link_or_copy(self.folder / shard.name, folder / shard.name)
                records = [clip.record for clip in clips]
                identities = {record.identity for record in records}
                parts.add(WrittenShard(shard, kept, sum(record.num_frames for record in records), identities))
            elif kept:
                parts.add(write_shard(folder, shard.name, clips))
        return parts.finish(folder) if parts.shards else None

    def _clips(self, shard: str, entries: list[dict[str, Any]]) -> Iterator[ClipMembers]:
        path = self.folder / shard
        with path.open("rb") as file:
            for entry in entries:
                members = []
                for name, (offset, length) in entry["members"].items():
                    file.seek(offset)
                    members.append((name, file.read(length)))
                yield ClipMembers(ClipRecord.from_json(members[0][1], f"{path}: {entry['clip_id']}"), members)


def link_or_copy(source: Path, destination: Path) -> None:
    """A second name for a file that is never changed in place: as good as a copy, and takes no room."""
    try:
        os.link(source, destination)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, destination)


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
