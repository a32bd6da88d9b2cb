from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest

from sheap.data.pairs import PairDataset
from sheap.data.reader import ShardReader
from sheap.data.remote import is_address


@pytest.fixture
def address(shard_folder):
    """Shards in fsspec's in-memory file system."""
    folder = shard_folder(num_clips=9)
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/shards", recursive=True)
    yield folder, "memory://bucket/shards/train"
    memory.rm("/bucket", recursive=True)


def cached(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file()}


def test_an_address_reads_like_a_folder_and_is_fetched_once(address, tmp_path):
    folder, url = address
    cache = tmp_path / "cache"
    local, remote = ShardReader(folder / "train"), ShardReader(url, cache_dir=cache)
    assert remote.clip_ids == local.clip_ids and cached(cache) == {"manifest.json", "index.json"}
    remote.image(0, 0)
    assert len(cached(cache)) == 3  # one shard so far
    one, two = PairDataset(local, num_samples=18, seed=3), PairDataset(remote, num_samples=18, seed=3)
    for number in range(18):
        assert np.array_equal(one[number].source.images, two[number].source.images)
    assert cached(cache) == {path.name for path in folder.rglob("*") if path.is_file()}
    fsspec.filesystem("memory").rm("/bucket/shards/train", recursive=True)
    again = ShardReader(url, cache_dir=cache)
    assert np.array_equal(again.landmarks(5), local.landmarks(5))
    assert np.array_equal(pickle.loads(pickle.dumps(again)).image(5, 1), local.image(5, 1))


def test_wrong_bytes_never_enter_the_cache(address, tmp_path):
    _, url = address
    memory = fsspec.filesystem("memory")
    name = "/bucket/shards/train/shard-00000.tar"
    content = memory.cat(name)
    for bad in (content[:-512], content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]):
        memory.pipe(name, bad)
        reader = ShardReader(url, cache_dir=tmp_path / "cache")
        with pytest.raises(ValueError, match=r"shard-00000\.tar: its SHA-256 is not the manifest's"):
            reader.image(0, 0)
    memory.pipe(name, content)
    assert reader.image(0, 0).shape == (32, 32, 3)
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_cache_that_rotted_is_fetched_again(address, tmp_path):
    folder, url = address
    cache = tmp_path / "cache"
    ShardReader(url, cache_dir=cache).image(0, 0)
    (shard,) = cache.rglob("shard-00000.tar")
    shard.write_bytes(shard.read_bytes()[:3000])
    image = ShardReader(url, cache_dir=cache).image(0, 0)
    assert np.array_equal(image, ShardReader(folder / "train").image(0, 0))


def test_other_data_at_the_same_address_is_another_cache(address, shard_folder, tmp_path):
    _, url = address
    before = ShardReader(url, cache_dir=tmp_path)
    memory = fsspec.filesystem("memory")
    memory.rm("/bucket", recursive=True)
    memory.put(str(shard_folder("other", num_clips=3)), "/bucket/shards", recursive=True)
    after = ShardReader(url, cache_dir=tmp_path)
    assert len(before) == 9 and len(after) == 3 and before.folder != after.folder


def test_mistakes_are_named(address, tmp_path):
    _, url = address
    with pytest.raises(ValueError, match="needs a cache_dir"):
        ShardReader(url)
    with pytest.raises(ValueError, match=r"memory://nowhere/manifest\.json: not found"):
        ShardReader("memory://nowhere/train", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="knows no split 'val'"):
        ShardReader(url.replace("train", "val"), cache_dir=tmp_path)
    with pytest.raises(ValueError, match="martian://x/manifest"):
        ShardReader("martian://x/train", cache_dir=tmp_path)
    assert not [path for path in tmp_path.glob(".*")]


def test_an_address_is_told_from_a_path_in_one_way(tmp_path):
    for address in ("s3://bucket/shards/train", "memory://a", "pipe:cat shards/train", "https://a.org/b"):
        assert is_address(address)
    for path in ("data/shards", "/data/a:b/train", "shards/pipe:x", Path("s3://bucket")):
        assert not is_address(path)
    with pytest.raises(ValueError, match=r"pipe:cat shards/train: an address needs a cache_dir"):
        ShardReader("pipe:cat shards/train")
    with pytest.raises(ValueError, match=r"pipe:cat shards/manifest\.json: (cannot be read|not found)"):
        ShardReader("pipe:cat shards/train", cache_dir=tmp_path)
