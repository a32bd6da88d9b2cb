"""Streaming: the pairs that random access gives of the same clips, exact counts, resumption, every address, every damage."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import webdataset

from sheap.data.batches import BatchPlan
from sheap.data.frames import Pairs
from sheap.data.pairs import PairDataset, draw_frames
from sheap.data.reader import ShardReader
from sheap.data.streaming import ClipStream, StreamedPairs, StreamedSplit, streamed_batches
from tests.data.made_clips import AUGMENT

RULES = {"gap": (1, 3), "augment": AUGMENT, "image_size": 24, "shuffle_clips": 4}


@pytest.fixture
def train(shard_folder) -> Path:
    """Nineteen clips of six frames in several shards."""
    folder = shard_folder(num_clips=19, num_frames=6, target_bytes=180_000) / "train"
    assert len(list(folder.glob("*.tar"))) >= 5
    return folder


def plan(**changes: int) -> BatchPlan:
    return BatchPlan(**{"num_samples": 60, "batch_size": 3, "seed": 7} | changes)


def flat(batches) -> list[Pairs]:
    return [batch.index(k) for batch in batches for k in range(len(batch))]


def same(a: Pairs, b: Pairs) -> bool:
    return all(
        torch.equal(getattr(getattr(a, side), name), getattr(getattr(b, side), name))
        for side in ("source", "target")
        for name in ("images", "masks", "landmarks")
    )


def test_our_shards_are_read_by_five_lines_of_plain_webdataset(train: Path) -> None:
    urls = sorted(map(str, train.glob("*.tar")))
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8").to_tuple("clip.json", "000.jpg", "landmarks.npy")
    samples = list(dataset)
    reader = ShardReader(train)
    assert [record["clip_id"] for record, _, _ in samples] == reader.clip_ids
    for number, (record, image, landmarks) in enumerate(samples):
        assert record["num_frames"] == 6 and np.array_equal(landmarks, reader.landmarks(number))
        assert np.abs(image.astype(int) - reader.image(number, 0)).mean() < 2, "another JPEG decoder's rounding"


class InGivenOrder(PairDataset):
    """Random access to the same clips, in an order from elsewhere."""

    def __init__(self, reader: ShardReader, clips: dict[int, int], seed: int) -> None:
        super().__init__(reader, num_samples=1000, seed=seed, gap=(1, 3), augment=AUGMENT, image_size=24)
        self._clips = clips

    def draw(self, index: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        clip = self._clips[index]
        source, target = draw_frames(self._reader.num_frames(clip), self._gap, rng)
        return clip, source, clip, target


def test_a_stream_and_the_plain_reader_agree_sample_for_sample(train: Path) -> None:
    split, reader = StreamedSplit.open(train), ShardReader(train)
    for rank in range(2):
        half = plan(rank=rank, world_size=2)
        ids = list(StreamedPairs(split, half, **RULES).numbered_ids())
        plain = InGivenOrder(reader, {number: reader.position(clip_id) for clip_id, number in ids}, half.seed)
        streamed = flat(streamed_batches(split, **RULES)(half))
        numbers = [number for start in range(0, 60, 6) for number in range(start + rank, start + 6, 2)]
        assert [number for _, number in ids] == numbers
        assert len(streamed) == len(ids) == 30
        assert all(same(pair, plain[number]) for pair, (_, number) in zip(streamed, ids, strict=True))


@pytest.mark.parametrize(("world_size", "processes"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_an_epoch_gives_every_clip_once_over_all_readers_in_another_order_each_time(
    train: Path, world_size: int, processes: int
) -> None:
    split, num_readers = StreamedSplit.open(train), world_size * processes
    orders = []
    for epoch in range(3):
        seen: list[str] = []
        for reader in range(num_readers):
            stream = ClipStream(split, 7, reader, num_readers, 4)
            length = stream._length()
            assert length in (19 // num_readers, 19 // num_readers + 1)
            ids = stream.ids(epoch * length)
            seen += [next(ids) for _ in range(length)]
        assert sorted(seen) == sorted(ShardReader(train).clip_ids)
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [next(ClipStream(split, 7, 0, num_readers, 4).ids()) for _ in range(2)] == [orders[0][0]] * 2


def test_shards_are_split_over_readers(train: Path) -> None:
    split = StreamedSplit.open(train)
    readers = [{shard for shard, _ in ClipStream(split, 7, reader, 3, 4)._stretch(0)} for reader in range(3)]
    counts = Counter(shard for shards in readers for shard in shards)
    assert set(counts) == set(split.index)
    assert sum(counts.values()) <= len(split.index) + 2, "only the shards on a cut are read twice"


def test_the_buffer_mixes_clips_of_several_shards(train: Path) -> None:
    split = StreamedSplit.open(train)
    stored = [clip_id for _, own in ClipStream(split, 7, 0, 1, 1)._stretch(0) for clip_id in own]
    assert ClipStream(split, 7, 0, 1, 1)._order(0) == stored, "a buffer of one leaves the order"
    mixed = ClipStream(split, 7, 0, 1, 8)._order(0)
    assert mixed != stored and sorted(mixed) == sorted(stored)


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("steps_done", [1, 7, 13])
def test_a_resumed_stream_is_the_rest_of_the_uninterrupted_one(train: Path, steps_done: int, processes: int) -> None:
    """Thirteen steps of three pass the end of an epoch of 19 twice."""
    make = streamed_batches(StreamedSplit.open(train), **RULES)
    whole = flat(make(plan(loader_processes=processes)))
    resumed = flat(make(plan(loader_processes=processes, cursor=3 * steps_done)))
    assert len(whole) == 60 and len(resumed) == 60 - 3 * steps_done
    assert all(same(a, b) for a, b in zip(resumed, whole[3 * steps_done :], strict=True))


def test_a_resumed_stream_reads_nothing_of_shards_that_are_through(train: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = StreamedSplit.open(train)
    stream = ClipStream(split, 7, 0, 1, 2)
    read: list[str] = []
    original = ClipStream._read_shard
    monkeypatch.setattr(
        ClipStream, "_read_shard", lambda self, shard, own: read.append(shard) or original(self, shard, own)
    )
    late = stream.clips(15)
    rest = [next(late)["__key__"] for _ in range(4)]
    ids = stream.ids(15)
    assert rest == [next(ids) for _ in range(4)]
    assert 0 < len(read) < len(split.index) / 2


def test_every_kind_of_address_gives_the_same(train: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(train.parent), "/streams/shards", recursive=True)
    try:
        expected = flat(streamed_batches(StreamedSplit.open(train), **RULES)(plan(num_samples=24)))
        for address in (str(train), f"file:{train}", f"pipe:cat {train}", "memory://streams/shards/train"):
            found = flat(streamed_batches(StreamedSplit.open(address), **RULES)(plan(num_samples=24)))
            assert len(found) == 24 and all(same(a, b) for a, b in zip(found, expected, strict=True)), address
    finally:
        memory.rm("/streams", recursive=True)


def damage(shard: Path, how: str) -> None:
    content = bytearray(shard.read_bytes())
    with tarfile.open(shard) as archive:
        members = archive.getmembers()
    if how == "cut at a member":
        shard.write_bytes(content[: members[3].offset] + bytes(1024))
    elif how == "cut inside a member":
        shard.write_bytes(content[: members[3].offset_data + 10])
    elif how == "cut at a clip":
        second = next(m for m in members if m.name.split(".")[0] != members[0].name.split(".")[0])
        shard.write_bytes(content[: second.offset] + bytes(1024))
    elif how == "a flipped byte":
        content[members[-1].offset_data + 200] ^= 1
        shard.write_bytes(content)
    else:
        shard.unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut at a member", "is not what the index says"),
        ("cut inside a member", "shard-00001.tar: "),
        ("cut at a clip", "ends before clip"),
        ("a flipped byte", "its SHA-256 is not the manifest's"),
        ("missing", "shard-00001.tar: cannot be read"),
    ],
)
def test_damage_is_found_in_the_epoch_that_meets_it_and_named(train: Path, how: str, message: str) -> None:
    split = StreamedSplit.open(train)
    damage(train / "shard-00001.tar", how)
    with pytest.raises(ValueError, match=message) as caught:
        list(streamed_batches(split, **RULES)(plan()))
    assert "shard-00001.tar" in str(caught.value) and "\n" not in str(caught.value)


def test_mistakes_are_named(train: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere/manifest\.json: missing"):
        StreamedSplit.open(tmp_path / "nowhere" / "train")
    with pytest.raises(ValueError, match=r"pipe:true x/manifest\.json: empty or not found"):
        StreamedSplit.open("pipe:true x/train")
    with pytest.raises(ValueError, match=r"pipe:cat /nowhere/manifest\.json: cannot be read"):
        StreamedSplit.open("pipe:cat /nowhere/train")
    with pytest.raises(ValueError, match="knows no split 'val'"):
        StreamedSplit.open(train.parent / "val")
    with pytest.raises(ValueError, match=r"19 clips are fewer than the 20 processes that read them"):
        ClipStream(StreamedSplit.open(train), 7, 0, 20, 4)
    (train / "index.json").write_text((train / "index.json").read_text().replace("clip1", "clip7"))
    with pytest.raises(ValueError, match=r"index\.json: its SHA-256 is not the manifest's"):
        StreamedSplit.open(train)
    with pytest.raises(ValueError, match=r"martian://x/manifest\.json: cannot be read"):
        StreamedSplit.open("martian://x/train")
