"""Training pairs from shards that are read one after another, through webdataset, from wherever they lie.

Random access (sheap.data.pairs) needs local files. A stream needs none: shards come from any address that webdataset or
fsspec knows, each whole clip passes once an epoch, and one pair is drawn from it. Readers are the loading processes of all
ranks together. An epoch's shards are put in a random order and their clips, end to end, cut into one stretch a reader: so
shards are split over nodes and processes, every clip is seen exactly once, and no rank ever waits for another's longer share.

Which clip comes when is known beforehand from the index alone: the shuffle buffer runs over the ids as it does over the clips.
So a resumed stream reads nothing of the shards whose clips have all gone out already.
"""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import webdataset
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from webdataset.tariterators import group_by_keys, tar_file_expander

from sheap.data.addresses import open_address, read_address, read_manifest
from sheap.data.augment import AugmentParams, PairAugmenter
from sheap.data.batches import BatchPlan, MakeBatches
from sheap.data.codecs import decode_image, decode_landmarks, decode_mask
from sheap.data.frames import Frames, Pairs
from sheap.data.manifest import INDEX_NAME, SplitInfo
from sheap.data.pairs import KeyedRandom, draw_frames
from sheap.data.schema import LANDMARKS_NAME, RECORD_NAME, TRUTH_NAME, ClipRecord, image_name, mask_name, num_frames_of
from sheap.data.truth import FrameTruth, WantedTruth, frame_place

Clip = dict[str, Any]
"""A sample as webdataset gives it: `__key__` and members by name; members are missing where a clip is only counted."""


@dataclass(frozen=True)
class StreamedSplit:
    """What is known of a split before a shard is read. index: by shard, each clip's members and their lengths in bytes."""

    address: str
    image_size: int
    info: SplitInfo
    index: dict[str, dict[str, dict[str, int]]]

    @classmethod
    def open(cls, address: Path | str) -> StreamedSplit:
        """Of a split's folder or address, e.g. `https://host/shards/train` or `pipe:cat /data/shards/train`.

        Raises ValueError naming the address when there is no such split or its index is not the manifest's.
        """
        address = str(address).rstrip("/")
        root, _, split = address.rpartition("/")
        manifest = read_manifest(root)
        if split not in manifest.splits:
            raise ValueError(f"{address}: the manifest knows no split '{split}' (it has {sorted(manifest.splits)})")
        info = manifest.splits[split]  # type: ignore[index]
        content = read_address(f"{address}/{INDEX_NAME}")
        if hashlib.sha256(content).hexdigest() != info.index_sha256:
            raise ValueError(f"{address}/{INDEX_NAME}: its SHA-256 is not the manifest's; it was altered or damaged")
        index: dict[str, dict[str, dict[str, int]]] = {shard.name: {} for shard in info.shards}
        for entry in json.loads(content):
            index[entry["shard"]][entry["clip_id"]] = {name: length for name, (_, length) in entry["members"].items()}
        return cls(address, manifest.image_size, info, index)

    def __len__(self) -> int:
        return self.info.num_clips


@dataclass(frozen=True)
class ClipStream:
    """The endless row of clips that one reader gets: epoch after epoch its stretch, through a buffer of `shuffle_clips`."""

    split: StreamedSplit
    seed: int
    reader: int
    num_readers: int
    shuffle_clips: int

    def __post_init__(self) -> None:
        if len(self.split) < self.num_readers:
            raise ValueError(
                f"{self.split.address}: {len(self.split)} clips are fewer than the {self.num_readers} processes that read "
                "them (ranks times train.workers.loader_processes)"
            )

    def ids(self, start: int = 0) -> Iterator[str]:
        """Clip ids from place `start` on, without reading a shard."""
        epoch, place = divmod(start, self._length())
        while True:
            yield from self._order(epoch)[place:]
            epoch, place = epoch + 1, 0

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """The clips themselves. Raises ValueError naming a shard that is not what manifest and index say."""
        epoch, place = divmod(start, self._length())
        while True:
            coming = set(self._order(epoch)[place:])
            yield from webdataset.DataPipeline(
                lambda epoch=epoch, coming=coming: self._clips_in_stored_order(epoch, coming),
                self._shuffle(epoch),
                webdataset.slice(place, None),
            )
            epoch, place = epoch + 1, 0

    def _length(self) -> int:
        """Clips of an epoch for this reader."""
        return len(self._places())

    def _places(self) -> range:
        """Of the epoch's clips, those that are this reader's."""
        count = len(self.split)
        return range(self.reader * count // self.num_readers, (self.reader + 1) * count // self.num_readers)

    def _stretch(self, epoch: int) -> list[tuple[str, list[str]]]:
        """Shards of this reader's stretch in the epoch's order, each with the clips in it that are this reader's."""
        names = list(self.split.index)
        shards = [names[k] for k in np.random.default_rng([self.seed, epoch, 0x5D]).permutation(len(names))]
        places, passed, stretch = self._places(), 0, []
        for shard in shards:
            ids = list(self.split.index[shard])
            own = ids[max(places.start - passed, 0) : max(places.stop - passed, 0)]
            passed += len(ids)
            if own:
                stretch.append((shard, own))
        return stretch

    def _shuffle(self, epoch: int) -> Any:
        """webdataset's shuffle buffer, seeded for one epoch of this reader; filled before the first clip leaves it."""
        rng = random.Random(f"{self.seed}/{epoch}/{self.reader}/{self.num_readers}")
        return webdataset.shuffle(self.shuffle_clips, initial=self.shuffle_clips, rng=rng)

    def _order(self, epoch: int) -> list[str]:
        """This reader's ids of an epoch as they leave the buffer."""
        return list(self._shuffle(epoch)(iter([clip_id for _, own in self._stretch(epoch) for clip_id in own])))

    def _clips_in_stored_order(self, epoch: int, coming: set[str]) -> Iterator[Clip]:
        """As they enter the buffer. A shard none of whose clips is still `coming` is not read: its clips only take their turn."""
        for shard, own in self._stretch(epoch):
            if coming.isdisjoint(own):
                yield from ({"__key__": clip_id} for clip_id in own)
            else:
                yield from self._read_shard(shard, own)

    def _read_shard(self, shard: str, own: list[str]) -> Iterator[Clip]:
        """The `own` clips of a shard; it is read to its end, where its hash is compared, only if its last clip is among them."""
        url, expected = f"{self.split.address}/{shard}", self.split.index[shard]
        (info,) = (item for item in self.split.info.shards if item.name == shard)
        wanted = iter(own)
        following = next(wanted, None)
        try:
            with closing(_HashedStream(open_address(url))) as stream:
                source = iter([{"url": url, "stream": stream}])
                for clip in webdataset.DataPipeline(lambda: source, tar_file_expander, group_by_keys):
                    clip_id = clip["__key__"]
                    if clip_id != following:
                        continue
                    lengths = {name: len(content) for name, content in clip.items() if not name.startswith("__")}
                    if lengths != expected[clip_id]:
                        raise ValueError(f"{url}: {clip_id} is not what the index says; it was altered or damaged")
                    yield clip
                    following = next(wanted, None)
                    if following is None and clip_id != next(reversed(expected)):
                        return
                if following is not None:
                    raise ValueError(f"{url}: ends before {following}; it was cut off")
                if stream.sha256_of_all() != info.sha256:
                    raise ValueError(f"{url}: its SHA-256 is not the manifest's; it was altered or damaged")
        except (tarfile.TarError, OSError) as error:
            raise ValueError(f"{url}: cannot be read ({' '.join(str(error.args[0] if error.args else error).split())})") from None


class StreamedPairs(IterableDataset[Pairs]):
    """The samples of a plan, in turn, for one loading process. Sample number i is decided by its clip and by (seed, i).

    Given the order of clips, it is what sheap.data.pairs gives of the same clip under the same number. The order depends on
    how many processes read (ranks times loading processes): a run goes on exactly with as many as before; with another
    number it goes on from the same place of an epoch that is cut otherwise, so that some clips come twice and some later.
    """

    def __init__(
        self,
        split: StreamedSplit,
        plan: BatchPlan,
        *,
        gap: tuple[int, int],
        augment: AugmentParams | None,
        image_size: int,
        shuffle_clips: int,
        truth: WantedTruth | None = None,
    ) -> None:
        super().__init__()
        self._split, self._plan, self._gap, self._shuffle_clips = split, plan, gap, shuffle_clips
        self._truth, self._random = truth, KeyedRandom()
        self._augmenter = PairAugmenter(image_size, augment, None if truth is None else truth.mirror)

    def __iter__(self) -> Iterator[Pairs]:
        for clip, number in self._numbered(clips=True):
            yield self._pair(clip, number)

    def numbered_ids(self) -> Iterator[tuple[str, int]]:
        """Clip id and number of every sample that iterating would give, without reading a shard."""
        return ((clip_id, number) for clip_id, number in self._numbered(clips=False))

    def _numbered(self, *, clips: bool) -> Iterator[tuple[Any, int]]:
        plan, info = self._plan, get_worker_info()
        process, num_processes = (0, 1) if info is None else (info.id, info.num_workers)
        step_size = plan.batch_size * plan.world_size
        # A loader takes whole batches from its processes in turn, from the first one on after a resumption too: so the
        # streams change processes, and each goes on where its own last batch ended.
        turn = plan.cursor // step_size + process
        lane, batches_before = turn % num_processes, turn // num_processes
        stream = ClipStream(
            self._split,
            plan.seed,
            plan.rank * num_processes + lane,
            plan.world_size * num_processes,
            self._shuffle_clips,
        )
        start = batches_before * plan.batch_size
        row = stream.clips(start) if clips else stream.ids(start)
        for step in range(process, plan.num_steps, num_processes):
            first = plan.cursor + step * step_size + plan.rank
            for number in range(first, first + step_size, plan.world_size):
                yield next(row), number

    def _pair(self, clip: Clip, number: int) -> Pairs:
        rng, where = self._random.of(self._plan.seed, number), f"{clip['__url__']}: {clip['__key__']}"
        count = num_frames_of([name for name in clip if not name.startswith("__")])
        landmarks = decode_landmarks(clip[LANDMARKS_NAME], count, f"{where}.{LANDMARKS_NAME}")
        source, target = (
            Frames.from_arrays(
                decode_image(clip[image_name(frame)], f"{where}.{image_name(frame)}"),
                decode_mask(clip[mask_name(frame)], f"{where}.{mask_name(frame)}"),
                landmarks[frame],
                self._truth_of(clip, frame, where),
            )
            for frame in draw_frames(count, self._gap, rng)
        )
        return self._augmenter(Pairs(source, target), rng)


    def _truth_of(self, clip: Clip, frame: int, where: str) -> FrameTruth | None:
        if self._truth is None:
            return None
        layout = ClipRecord.from_json(clip[RECORD_NAME], f"{where}.{RECORD_NAME}").truth

        def row() -> bytes:
            assert layout is not None
            offset, length = frame_place(layout, frame)
            return clip[TRUTH_NAME][offset : offset + length]

        return self._truth.of(layout, row, where)


def streamed_batches(
    split: StreamedSplit,
    *,
    gap: tuple[int, int],
    augment: AugmentParams | None,
    image_size: int,
    shuffle_clips: int,
    truth: WantedTruth | None = None,
) -> MakeBatches:
    """Batches of a stream."""

    def batches(plan: BatchPlan) -> Iterable[Pairs]:
        pairs = StreamedPairs(
            split, plan, gap=gap, augment=augment, image_size=image_size, shuffle_clips=shuffle_clips, truth=truth
        )
        return DataLoader(
            pairs, batch_size=plan.batch_size, collate_fn=Pairs.stack, num_workers=plan.loader_processes
        )

    return batches


class _HashedStream:
    """A stream that knows the hash of what has passed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._hash.update(content)
        return content

    def sha256_of_all(self) -> str:
        """Reads the rest, which holds no member, and gives the hash of the whole."""
        while self.read(1 << 20):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        self._stream.close()
