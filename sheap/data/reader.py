"""Random access to the clips of one split by byte offset: no unpacking, no scanning."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.data.codecs import (
    FRAME_LANDMARKS_BYTES,
    NPY_HEADER_BYTES,
    decode_frame_landmarks,
    decode_image,
    decode_landmarks,
    decode_mask,
)
from sheap.data.manifest import INDEX_NAME, Manifest, verify_split
from sheap.data.remote import RemoteSplit, is_address
from sheap.data.schema import LANDMARKS_NAME, RECORD_NAME, TRUTH_NAME, ClipRecord, image_name, mask_name, num_frames_of
from sheap.data.truth import FrameTruth, decode_frame_truth, frame_place

_REMEMBERED_RECORDS = 1024


@dataclass(frozen=True)
class ClipFrames:
    """A whole clip, decoded: images uint8 [T, S, S, 3], masks uint8 [T, S, S], landmarks float32 [T, 478, 3] px."""

    record: ClipRecord
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


class ShardReader:
    """The clips of one split, e.g. `ShardReader(Path("data/shards/train"))`.

    The folder must be exactly what the manifest beside it says: ValueError lists what is missing, extra or altered.
    verify_hashes=False checks names and sizes only, for corpora too large to be read once before training.

    The place may also be an address that fsspec knows, `ShardReader("s3://bucket/shards/train", cache_dir=...)`: shards
    are fetched into the cache when they are first needed, and verified then.
    """

    def __init__(
        self, folder: Path | str, *, verify_hashes: bool = True, cache_dir: Path | str | None = None
    ) -> None:
        self._remote: RemoteSplit | None = None
        if is_address(folder):
            if cache_dir is None:
                raise ValueError(f"{folder}: an address needs a cache_dir, a folder for what is fetched")
            self._remote = RemoteSplit.open(str(folder), Path(cache_dir))
            if verify_hashes:
                self._remote.damaged()
            folder = self._remote.folder
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder.parent)
        split = self.folder.name
        if split not in self.manifest.splits:
            known = sorted(self.manifest.splits)
            raise ValueError(f"{self.folder}: the manifest knows no split '{split}' (it has {known})")
        self.info = self.manifest.splits[split]  # type: ignore[index]
        problems = [] if self._remote else verify_split(self.folder, self.info, hashes=verify_hashes)
        if problems:
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            raise ValueError("; ".join(problems[:3]) + more)
        self.image_size = self.manifest.image_size
        self._index: list[dict[str, Any]] = json.loads((self.folder / INDEX_NAME).read_bytes())
        self._position = {entry["clip_id"]: number for number, entry in enumerate(self._index)}
        self._files: dict[str, int] = {}
        self._records: OrderedDict[int, ClipRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def clip_ids(self) -> list[str]:
        """Ids in stored order."""
        return [entry["clip_id"] for entry in self._index]

    def clip_id(self, number: int) -> str:
        """The id of one clip."""
        return self._index[number]["clip_id"]

    def position(self, clip_id: str) -> int:
        """The number of a clip. Raises ValueError for an unknown id."""
        try:
            return self._position[clip_id]
        except KeyError:
            raise ValueError(f"{self.folder}: no clip {clip_id!r}") from None

    def record(self, number: int) -> ClipRecord:
        """The facts of one clip; the latest few are remembered."""
        if number not in self._records:
            self._records[number] = ClipRecord.from_json(*self._read(number, RECORD_NAME))
            if len(self._records) > _REMEMBERED_RECORDS:
                self._records.popitem(last=False)
        return self._records[number]

    def num_frames(self, number: int) -> int:
        """Frames of one clip, known without reading it."""
        return num_frames_of(self._index[number]["members"])

    def has_truth(self, number: int) -> bool:
        """Whether a clip is a rendered one that carries its truth; known without reading it."""
        return TRUTH_NAME in self._index[number]["members"]

    def landmarks(self, number: int) -> NDArray[np.float32]:
        """Landmarks [T, 478, 3] of one clip, px of its crops."""
        content, where = self._read(number, LANDMARKS_NAME)
        return decode_landmarks(content, self.num_frames(number), where)

    def frame_landmarks(self, number: int, frame: int) -> NDArray[np.float32]:
        """Landmarks [478, 3] of one frame, without reading the others'."""
        members = self._index[number]["members"]
        count = num_frames_of(members)
        if not 0 <= frame < count:
            raise ValueError(f"{self.folder}: {self.clip_id(number)} has {count} frames, asked for number {frame}")
        offset, length = members[LANDMARKS_NAME]
        if length != NPY_HEADER_BYTES + count * FRAME_LANDMARKS_BYTES:
            return self.landmarks(number)[frame]  # says what is wrong with the file, if anything is
        offset += NPY_HEADER_BYTES + frame * FRAME_LANDMARKS_BYTES
        where = self._where(number, LANDMARKS_NAME)
        return decode_frame_landmarks(self._read_at(number, offset, FRAME_LANDMARKS_BYTES, where), where)

    def frame_truth(self, number: int, frame: int) -> FrameTruth | None:
        """What is known of one frame of a rendered clip; None for others. Raises ValueError when the file is not whole."""
        layout = self.record(number).truth
        if layout is None:
            return None
        return decode_frame_truth(self.frame_truth_bytes(number, frame), layout, self._where(number, TRUTH_NAME))

    def frame_truth_bytes(self, number: int, frame: int) -> bytes:
        """The row of a frame in a rendered clip's truth file."""
        where, layout = self._where(number, TRUTH_NAME), self.record(number).truth
        at, stored = self._member_place(number, TRUTH_NAME)
        assert layout is not None
        offset, length = frame_place(layout, frame)
        if offset + length > stored:
            raise ValueError(f"{where}: the file ends before frame {frame}")
        return self._read_at(number, at + offset, length, where)

    def member(self, number: int, name: str) -> bytes:
        """One stored file of a clip, as it is."""
        return self._read(number, name)[0]

    def image(self, number: int, frame: int) -> NDArray[np.uint8]:
        """One crop, uint8 RGB [S, S, 3]."""
        return decode_image(*self._read(number, image_name(frame)))

    def mask(self, number: int, frame: int) -> NDArray[np.uint8]:
        """One foreground mask, uint8 [S, S]."""
        return decode_mask(*self._read(number, mask_name(frame)))

    def image_and_mask(self, number: int, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One crop and its mask, as `image` and `mask` give them, in one read: they lie side by side."""
        image, mask = image_name(frame), mask_name(frame)
        image_at, image_length = self._member_place(number, image)
        mask_at, mask_length = self._member_place(number, mask)
        start, end = min(image_at, mask_at), max(image_at + image_length, mask_at + mask_length)
        where = self._where(number, image)
        content = memoryview(self._read_at(number, start, end - start, where))
        return (
            decode_image(content[image_at - start :][:image_length], where),
            decode_mask(content[mask_at - start :][:mask_length], self._where(number, mask)),
        )

    def clip(self, number: int) -> ClipFrames:
        """A whole clip, for panels and inspection."""
        record = self.record(number)
        frames = range(self.num_frames(number))
        return ClipFrames(
            record,
            np.stack([self.image(number, frame) for frame in frames]),
            np.stack([self.mask(number, frame) for frame in frames]),
            self.landmarks(number),
        )

    def close(self) -> None:
        """Closes the shard files; a later read opens them again."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}

    def _where(self, number: int, member: str) -> str:
        entry = self._index[number]
        return f"{self.folder}/{entry['shard']}: {entry['clip_id']}.{member}"

    def _member_place(self, number: int, member: str) -> tuple[int, int]:
        """Offset and length in the shard."""
        try:
            offset, length = self._index[number]["members"][member]
        except KeyError:
            raise ValueError(f"{self._where(number, member)}: no such member") from None
        return offset, length

    def _read(self, number: int, member: str) -> tuple[bytes, str]:
        """Bytes of one member and a name for it in messages."""
        where = self._where(number, member)
        return self._read_at(number, *self._member_place(number, member), where), where

    def _read_at(self, number: int, offset: int, length: int, where: str) -> bytes:
        """`length` bytes of a clip's shard. Raises ValueError naming `where` when there are fewer."""
        shard = self._index[number]["shard"]
        if shard not in self._files:
            path = self._remote.have(shard) if self._remote else self.folder / shard
            self._files[shard] = os.open(path, os.O_RDONLY)
        # pread carries its own offset, so worker processes that inherit the descriptor cannot disturb one another
        content = os.pread(self._files[shard], length, offset)
        if len(content) != length:
            raise ValueError(f"{where}: the file ends inside this member")
        return content

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        if getattr(self, "_files", None):
            self.close()
