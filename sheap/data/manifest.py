"""The manifest of a shard folder: what must be there, to the byte.

A tar cut at a member boundary reads silently short, so nothing is trusted that the manifest does not vouch for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sheap.data.schema import SCHEMA_VERSION, SchemaVersion

MANIFEST_NAME = "manifest.json"
INDEX_NAME = "index.json"
Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


class ShardInfo(BaseModel):
    """One tar file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    num_bytes: int
    sha256: str
    num_clips: int
    num_members: int


class SplitInfo(BaseModel):
    """One folder of shards with the index that lets a reader jump to any member."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: list[ShardInfo]
    index_sha256: str
    num_clips: int
    num_frames: int
    identities: list[str]


class Manifest(BaseModel):
    """`manifest.json`. `data_hash` covers everything else in it, hence every byte of every shard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: SchemaVersion = SCHEMA_VERSION
    image_size: int
    splits: dict[Split, SplitInfo]
    notes: list[str] = []
    """What a reader of this data should know, e.g. that there is no validation split and why."""
    data_hash: str = ""

    def sealed(self) -> Manifest:
        """The same manifest with its `data_hash` filled in."""
        return self.model_copy(update={"data_hash": self._digest()})

    def _digest(self) -> str:
        content = self.model_copy(update={"data_hash": ""}).model_dump_json()
        return hashlib.sha256(content.encode("utf-8")).hexdigest()

    def to_json(self) -> bytes:
        assert self.data_hash, "seal the manifest before writing it"
        return (self.model_dump_json(indent=1) + "\n").encode("utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a shard folder. Raises ValueError naming the file when it is absent or was altered."""
        path = folder / MANIFEST_NAME
        try:
            return cls.from_json(path.read_bytes(), str(path))
        except FileNotFoundError:
            raise ValueError(f"{path}: missing; this is not a complete shard folder") from None

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Manifest:
        """A manifest's file. Raises ValueError naming `where` when it was altered or is none."""
        try:
            manifest = cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{where}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None
        if manifest.data_hash != manifest._digest():
            raise ValueError(f"{where}: its contents do not match its data_hash; it was altered or damaged")
        return manifest


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_split(folder: Path, info: SplitInfo, *, hashes: bool = True) -> list[str]:
    """Everything wrong with one split's folder, one line each; empty when it is exactly what the manifest says.

    hashes=False compares names and sizes only: enough against a cut or missing file, not against a flipped byte.
    """
    problems = []
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    expected = {shard.name for shard in info.shards} | {INDEX_NAME}
    problems += [f"{folder / name}: missing" for name in sorted(expected - present)]
    problems += [f"{folder / name}: not in the manifest" for name in sorted(present - expected)]
    for shard in info.shards:
        path = folder / shard.name
        if shard.name not in present:
            continue
        size = path.stat().st_size
        if size != shard.num_bytes:
            problems.append(f"{path}: {size} bytes, the manifest says {shard.num_bytes}")
        elif hashes and file_sha256(path) != shard.sha256:
            problems.append(f"{path}: its SHA-256 is not the manifest's; it was altered or damaged")
    # the index is small and decides where every read lands, so it is always hashed
    if INDEX_NAME in present and file_sha256(folder / INDEX_NAME) != info.index_sha256:
        problems.append(f"{folder / INDEX_NAME}: its SHA-256 is not the manifest's; it was altered or damaged")
    return problems


def verify_shards(folder: Path, *, hashes: bool = True) -> list[str]:
    """Everything wrong with a whole shard folder, one line each; empty when it verifies."""
    try:
        manifest = Manifest.read(folder)
    except ValueError as error:
        return [str(error)]
    problems = []
    for split in SPLITS:
        if split in manifest.splits:
            problems += verify_split(folder / split, manifest.splits[split], hashes=hashes)
    expected = {MANIFEST_NAME, *manifest.splits}
    problems += [f"{path}: not in the manifest" for path in sorted(folder.iterdir()) if path.name not in expected]
    return problems
