"""Source/target pairs: two frames of one person, drawn from clips that can be read at any place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from sheap.data.augment import AugmentParams, PairAugmenter
from sheap.data.frames import Frames, Pairs
from sheap.data.order import epoch_order
from sheap.data.reader import ShardReader
from sheap.data.truth import FrameTruth, WantedTruth


class PairDataset(Dataset[Pairs]):
    """Sample number i is decided by (seed, i) alone: its epoch's permutation, then frames, then augmentation.

    reader: the clips of one split; clips: the numbers of those that are drawn from (default: all). num_samples: how many samples exist, usually steps x global batch size (default: one
    epoch). gap: least and greatest distance of source and target in frames; a clip too short for it gives its widest
    pair. across_clips: probability of taking the target from another clip of the same person, where there is one.
    augment: None leaves the frames as they are, but resized. image_size: None keeps the stored size.
    cache_bytes: decoded frames are kept in memory up to this bound (per process); 0 keeps none. truth: what frames are asked
    for beside their pictures.
    """

    def __init__(
        self,
        reader: ShardReader,
        *,
        clips: Sequence[int] | None = None,
        num_samples: int | None = None,
        seed: int = 0,
        gap: tuple[int, int] = (1, 1_000_000),
        across_clips: float = 0.0,
        augment: AugmentParams | None = None,
        image_size: int | None = None,
        cache_bytes: int = 0,
        truth: WantedTruth | None = None,
    ) -> None:
        self._clips = range(len(reader)) if clips is None else clips
        if len(self._clips) == 0:
            raise ValueError(f"{reader.folder}: no clips to sample from")
        if not 0 <= gap[0] <= gap[1]:
            raise ValueError(f"gap: expected 0 <= least <= greatest, got {gap}")
        self._reader = reader
        self._num_samples = len(self._clips) if num_samples is None else num_samples
        self._seed, self._gap, self._across_clips = seed, gap, across_clips
        self._random = KeyedRandom()
        self.image_size = image_size or reader.image_size
        self._augmenter = PairAugmenter(self.image_size, augment, None if truth is None else truth.mirror)
        self._cache = _FrameCache(reader, cache_bytes, truth)
        self._epoch: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        self._clips_of_person: dict[str, list[int]] = {}
        if across_clips > 0:
            for number in self._clips:
                self._clips_of_person.setdefault(_person(reader, number), []).append(number)

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Pairs:
        if not 0 <= index < self._num_samples:
            raise IndexError(index)
        rng = self._random.of(self._seed, index)
        source_clip, source_frame, target_clip, target_frame = self.draw(index, rng)
        pair = Pairs(self._cache.frame(source_clip, source_frame), self._cache.frame(target_clip, target_frame))
        return self._augmenter(pair, rng)

    def places(self, index: int) -> tuple[int, int, int, int]:
        """Source clip and frame, target clip and frame of the sample that `self[index]` gives."""
        return self.draw(index, self._random.of(self._seed, index))

    def draw(self, index: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Source clip and frame, target clip and frame of a sample."""
        epoch, place = divmod(index, len(self._clips))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, epoch_order(len(self._clips), self._seed, epoch))
        clip = self._clips[int(self._epoch[1][place])]
        num_frames = self._reader.num_frames(clip)
        if self._across_clips > 0 and rng.random() < self._across_clips:
            others = [n for n in self._clips_of_person[_person(self._reader, clip)] if n != clip]
            if others:
                other = int(rng.choice(others))
                num_others = self._reader.num_frames(other)
                return clip, int(rng.integers(num_frames)), other, int(rng.integers(num_others))
        source, target = draw_frames(num_frames, self._gap, rng)
        return clip, source, clip, target


def _person(reader: ShardReader, number: int) -> str:
    record = reader.record(number)
    return record.person or record.identity


def draw_frames(num_frames: int, gap: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Two frames whose distance is uniform among the allowed ones, in either order."""
    widest = num_frames - 1
    least, greatest = min(gap[0], widest), min(gap[1], widest)
    distance = int(rng.integers(least, greatest + 1))
    first = int(rng.integers(num_frames - distance))
    pair = (first, first + distance)
    return pair if rng.random() < 0.5 else pair[::-1]


class KeyedRandom:
    """Random numbers by key: Philox can be set to any key at once, where a new generator costs more than its draws."""

    def __init__(self) -> None:
        self._generator = np.random.Generator(np.random.Philox(key=[0, 0]))
        self._start = self._generator.bit_generator.state

    def of(self, seed: int, index: int) -> np.random.Generator:
        """A generator at the start of the stream of (seed, index); good until the next call."""
        self._start["state"]["key"][:] = seed, index
        self._generator.bit_generator.state = self._start
        return self._generator


class _FrameCache:
    """Decoded frames, kept until the bound is reached; decoding again gives the same frame."""

    def __init__(self, reader: ShardReader, max_bytes: int, truth: WantedTruth | None) -> None:
        self._reader, self._free, self._truth = reader, max_bytes, truth
        self._frames: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def frame(self, clip: int, frame: int) -> Frames:
        known = self._frames.get((clip, frame))
        image, mask = known or self._reader.image_and_mask(clip, frame)
        size = image.nbytes + mask.nbytes
        if known is None and size <= self._free:
            self._frames[clip, frame] = (image, mask)
            self._free -= size
        return Frames.from_arrays(image, mask, self._reader.frame_landmarks(clip, frame), self._truth_of(clip, frame))

    def _truth_of(self, clip: int, frame: int) -> FrameTruth | None:
        if self._truth is None:
            return None
        stored, where = self._reader.record(clip).truth, f"{self._reader.folder}: {self._reader.clip_id(clip)}"
        return self._truth.of(stored, lambda: self._reader.frame_truth_bytes(clip, frame), where)
