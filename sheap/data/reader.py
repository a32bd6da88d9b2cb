"""Random access to the clips of one split by byte offset: no unpacking, no scanning."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.data.codecs import decode_image, decode_landmarks, decode_mask
from sheap.data.manifest import INDEX_NAME, Manifest, verify_split
from sheap.data.schema import LANDMARKS_NAME, RECORD_NAME, ClipRecord, image_name, mask_name


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
    """

    def __init__(self, folder: Path | str, *, verify_hashes: bool = True) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder.parent)
        split = self.folder.name
        if split not in self.manifest.splits:
            known = sorted(self.manifest.splits)
            raise ValueError(f"{self.folder}: the manifest knows no split '{split}' (it has {known})")
        self.info = self.manifest.splits[split]  # type: ignore[index]
        problems = verify_split(self.folder, self.info, hashes=verify_hashes)
        if problems:
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            raise ValueError("; ".join(problems[:3]) + more)
        self.image_size = self.manifest.image_size
        self._index: list[dict[str, Any]] = json.loads((self.folder / INDEX_NAME).read_bytes())
        self._position = {entry["clip_id"]: number for number, entry in enumerate(self._index)}
        self._files: dict[str, int] = {}
        self._records: dict[int, ClipRecord] = {}
        self._landmarks: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self._index)

    @property
    def clip_ids(self) -> list[str]:
        """Ids in stored order."""
        return [entry["clip_id"] for entry in self._index]

    def position(self, clip_id: str) -> int:
        """The number of a clip. Raises ValueError for an unknown id."""
        try:
            return self._position[clip_id]
        except KeyError:
            raise ValueError(f"{self.folder}: no clip {clip_id!r}") from None

    def record(self, number: int) -> ClipRecord:
        """The facts of one clip (remembered: they are small)."""
        if number not in self._records:
            self._records[number] = ClipRecord.from_json(*self._read(number, RECORD_NAME))
        return self._records[number]

    def landmarks(self, number: int) -> NDArray[np.float32]:
        """Landmarks [T, 478, 3] of one clip, px of its crops."""
        if number not in self._landmarks:
            content, where = self._read(number, LANDMARKS_NAME)
            self._landmarks[number] = decode_landmarks(content, self.record(number).num_frames, where)
        return self._landmarks[number]

    def image(self, number: int, frame: int) -> NDArray[np.uint8]:
        """One crop, uint8 RGB [S, S, 3]."""
        return decode_image(*self._read(number, image_name(frame)))

    def mask(self, number: int, frame: int) -> NDArray[np.uint8]:
        """One foreground mask, uint8 [S, S]."""
        return decode_mask(*self._read(number, mask_name(frame)))

    def clip(self, number: int) -> ClipFrames:
        """A whole clip, for panels and inspection."""
        record = self.record(number)
        frames = range(record.num_frames)
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

    def _read(self, number: int, member: str) -> tuple[bytes, str]:
        entry = self._index[number]
        where = f"{self.folder / entry['shard']}: {entry['clip_id']}.{member}"
        if member not in entry["members"]:
            raise ValueError(f"{where}: no such member")
        offset, length = entry["members"][member]
        if entry["shard"] not in self._files:
            self._files[entry["shard"]] = os.open(self.folder / entry["shard"], os.O_RDONLY)
        # pread carries its own offset, so worker processes that inherit the descriptor cannot disturb one another
        content = os.pread(self._files[entry["shard"]], length, offset)
        if len(content) != length:
            raise ValueError(f"{where}: the file ends inside this member")
        return content, where

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        if getattr(self, "_files", None):
            self.close()
