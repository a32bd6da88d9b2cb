"""Shards that lie elsewhere: any address that fsspec knows (s3://, gs://, https://, ...), fetched once into a local cache.

Shards come one by one, when a clip of theirs is first read. What the manifest does not vouch for never gets its final name
in the cache, so a fetch that was cut off or went wrong is done again, and processes that share a cache do not disturb
one another.

Why not fsspec's own caches (tried: 2026.9.0). `simplecache` copies straight to the final name and takes any file there for a
whole one: of a copy of 100,000 bytes that was killed after 10 it then read 10. `filecache` keeps a table of whole files and is not
fooled by that, but neither compares a hash, and to both an address is the same file for ever, whatever lies there now.
Neither bounds its size, nor does this; here no file is ever kept twice, so the corpus is the bound.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import fsspec
from fsspec.core import OpenFile

from sheap.data.manifest import INDEX_NAME, MANIFEST_NAME, Manifest, SplitInfo, file_sha256

_PIECE = 8 * 1024**2


def is_address(place: Path | str) -> bool:
    """Whether a place is an address (`https://...`, `pipe:...`) rather than a path."""
    return isinstance(place, str) and ":" in place.partition("/")[0]


@dataclass(frozen=True)
class RemoteSplit:
    """One split at an address, e.g. `s3://bucket/shards/train`, and its cache."""

    url: str
    folder: Path
    """Where its files are in the cache."""
    info: SplitInfo

    @classmethod
    def open(cls, url: str, cache_dir: Path) -> RemoteSplit:
        """Fetches manifest and index. Raises ValueError naming the address when there is no such split."""
        root, _, split = url.rstrip("/").rpartition("/")
        temporary = cache_dir / f".{uuid.uuid4().hex}"
        try:
            _fetch(f"{root}/{MANIFEST_NAME}", temporary / MANIFEST_NAME, None)
            try:
                manifest = Manifest.read(temporary)
            except ValueError as error:
                raise ValueError(f"{root}: {error}") from None
            if split not in manifest.splits:
                raise ValueError(f"{url}: the manifest knows no split '{split}' (it has {sorted(manifest.splits)})")
            # named by the data: another state of the shards at the same address is another folder
            home = cache_dir / manifest.data_hash[:32]
            home.mkdir(parents=True, exist_ok=True)
            (temporary / MANIFEST_NAME).replace(home / MANIFEST_NAME)
        finally:
            (temporary / MANIFEST_NAME).unlink(missing_ok=True)
            if temporary.exists():
                temporary.rmdir()
        info = manifest.splits[split]  # type: ignore[index]
        remote = cls(url.rstrip("/"), home / split, info)
        remote._have(INDEX_NAME, info.index_sha256)
        return remote

    def have(self, shard: str) -> Path:
        """The local file of a shard; fetched when it is not there. Raises ValueError when its bytes are wrong."""
        (sha256,) = (item.sha256 for item in self.info.shards if item.name == shard)
        return self._have(shard, sha256)

    def _have(self, name: str, sha256: str) -> Path:
        path = self.folder / name
        if not path.exists():
            _fetch(f"{self.url}/{name}", path, sha256)
        return path

    def damaged(self) -> list[str]:
        """Files in the cache whose bytes are no longer the manifest's; they are removed and will be fetched again."""
        problems = []
        for shard in self.info.shards:
            path = self.folder / shard.name
            if path.exists() and (path.stat().st_size != shard.num_bytes or file_sha256(path) != shard.sha256):
                path.unlink()
                problems.append(str(path))
        return problems


def _fetch(url: str, path: Path, sha256: str | None) -> None:
    """Copies a remote file; it gets its name only when it is whole and has the promised hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    digest = hashlib.sha256()
    try:
        try:
            opened = cast("OpenFile", fsspec.open(url, "rb"))  # of one address, not of a list
        except ValueError as error:  # no such kind of address
            raise ValueError(f"{url}: cannot be read ({error})") from None
        with opened as source, temporary.open("wb") as target:
            while piece := source.read(_PIECE):
                digest.update(piece)
                target.write(piece)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise ValueError(f"{url}: its SHA-256 is not the manifest's; it was altered or damaged")
        temporary.replace(path)
    except FileNotFoundError:
        raise ValueError(f"{url}: not found") from None
    except (ImportError, OSError) as error:  # no driver for this kind of address; no connection
        raise ValueError(f"{url}: cannot be read ({' '.join(str(error).split())})") from None
    finally:
        temporary.unlink(missing_ok=True)
