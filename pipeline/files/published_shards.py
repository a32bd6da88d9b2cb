"""Which clips lie in which published shard: what later packing keeps, so that nobody changes sides and no shard its bytes.

A folder with one small file a shard, `SPLIT/SHARD.json`: the tar's SHA-256 and, in stored order, its clips with their people. It
is written after a run that stands (`sheap corpus publish`) and read by the stage `shards`, which packs the same clips into the
same bytes again and puts new ones behind them.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheap.data.manifest import SPLITS, Manifest, Split
from sheap.data.reader import ShardReader
from sheap.data.shard_writer import StoredSplit
from sheap.files import write_text

PUBLISHED_DIR = Path("published")


@dataclass(frozen=True)
class PublishedShard:
    """name: of the tar. clips: identity by clip id, in stored order."""

    name: str
    sha256: str
    clips: dict[str, str]


Published = dict[Split, list[PublishedShard]]


def read_published(folder: Path) -> Published:
    """What was published, by split. Raises ValueError naming a file that is no list of clips."""
    published: Published = {}
    for split in SPLITS:
        shards = []
        for path in sorted((folder / split).glob("*.json")):
            try:
                document: dict[str, Any] = json.loads(path.read_bytes())
                shards.append(PublishedShard(path.stem, document["sha256"], dict(document["clips"])))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}: not a published shard's list of clips ({type(error).__name__}: {error})") from None
        if shards:
            published[split] = shards
    return published


def write_published(shards_dir: Path, folder: Path) -> int:
    """Writes the lists of a shard folder's shards into `folder`, new and changed ones alone; gives how many those are."""
    changed = 0
    for split, info in Manifest.read(shards_dir).splits.items():
        clips: dict[str, dict[str, str]] = {shard.name: {} for shard in info.shards}
        index = StoredSplit(shards_dir / split, info).index()
        with closing(ShardReader(shards_dir / split, verify_hashes=False)) as reader:
            for number, entry in enumerate(index):
                clips[entry["shard"]][entry["clip_id"]] = reader.record(number).identity
        (folder / split).mkdir(parents=True, exist_ok=True)
        wanted = {}
        for shard in info.shards:
            wanted[f"{shard.name}.json"] = json.dumps({"sha256": shard.sha256, "clips": clips[shard.name]}, indent=0) + "\n"
        for path in (folder / split).glob("*.json"):
            if path.name not in wanted:
                path.unlink()
                changed += 1
        for name, text in wanted.items():
            path = folder / split / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
                changed += 1
    return changed
