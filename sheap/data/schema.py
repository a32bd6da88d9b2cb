"""What one clip is: the unit that is stored, split, shuffled and sampled.

A clip is one person in one shot: square head crops of one size, their foreground masks and their landmarks. Its files
are the same in a folder (what ingestion leaves) and in a tar (what training reads); only the prefix differs.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

SCHEMA_VERSION = 3
"""1: masks were PNG files. 2: they are LZ4 files. 3: rendered clips carry their truth."""
NUM_LANDMARKS = 478

RECORD_NAME = "clip.json"
LANDMARKS_NAME = "landmarks.npy"
TRUTH_NAME = "truth.npy"

_CLIP_ID = re.compile(r"[A-Za-z0-9_-]{1,120}")
"""No dot: WebDataset ends a sample's key at the first one. No slash: a clip is one folder."""


def _check_schema_version(version: int) -> int:
    if version != SCHEMA_VERSION:
        raise PydanticCustomError(
            "schema_version",
            "{found}, but this version of the program reads {known}: make the clips and shards anew (stages ingest, shards)",
            {"found": version, "known": SCHEMA_VERSION},
        )
    return version


SchemaVersion = Annotated[int, AfterValidator(_check_schema_version)]


class TruthLayout(BaseModel):
    """What a row of a clip's truth holds, float32, in this order: shape, expression, eyelids [2], rotation vectors [5, 3],
    translation [3], landmarks [478, 3] px of the crop, and whether each of them is seen [478]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The file of the head model that the coefficients are of."""
    num_shape: Annotated[int, Field(ge=1)]
    num_expression: Annotated[int, Field(ge=1)]

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.num_shape, self.num_expression, 2, 15, 3, NUM_LANDMARKS * 3, NUM_LANDMARKS)

    @property
    def row_bytes(self) -> int:
        return 4 * sum(self.sizes)


class ClipRecord(BaseModel):
    """The facts of one clip, stored as `clip.json`. Lists run over its frames, in time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: SchemaVersion = SCHEMA_VERSION
    clip_id: Annotated[str, Field(pattern=rf"^{_CLIP_ID.pattern}$")]
    identity: Annotated[str, Field(min_length=1)]
    """Who it is, as far as the corpus knows; clips of one identity never cross the train/validation split."""
    person: str | None = None
    """Who it is for sure, where a video shows several people; None: the identity says it."""
    split: Literal["train", "val"] | None = None
    """Set where the corpus says so; otherwise the shards stage draws it by identity."""
    video: str
    video_sha256: str
    licence: str
    origin: str
    image_size: Annotated[int, Field(gt=0)]
    """Side of the square crops, px."""
    num_frames: Annotated[int, Field(gt=0)]
    shot: int = 0
    track: int = 0
    times_s: list[float]
    """Presentation times in the video."""
    boxes_px: list[tuple[float, float, float]]
    """The square cut out of each (upright) video frame: centre x, centre y, side."""
    turned_deg: Annotated[int, Field(ge=0, lt=360, multiple_of=90)] = 0
    """How far these squares are turned clockwise in the frames: the head lies on its side or upside down there, and is upright
    in the crops."""
    sharpness: list[float]
    presence: list[float]
    pose_deg: list[tuple[float, float, float]]
    """Head rotation in the crop: yaw (positive: towards the person's left), pitch (positive: up), roll (positive: clockwise)."""
    mask_backend: str
    truth: TruthLayout | None = None
    """Of rendered clips: what is stored of each frame as `truth.npy`."""

    def to_json(self) -> bytes:
        """Canonical bytes: the same record always gives the same file."""
        return (self.model_dump_json() + "\n").encode("utf-8")

    @classmethod
    def from_json(cls, content: bytes, where: str) -> ClipRecord:
        """Raises ValueError naming `where` and the first field that is wrong."""
        try:
            record = cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "file"
            raise ValueError(f"{where}: {field}: {first['msg']}") from None
        for name in ("times_s", "boxes_px", "sharpness", "presence", "pose_deg"):
            if len(getattr(record, name)) != record.num_frames:
                raise ValueError(f"{where}: {name}: expected {record.num_frames} entries, one a frame")
        return record


def check_clip_id(clip_id: str) -> str:
    """`clip_id` itself; ValueError when it cannot name a clip (letters, digits, '-' and '_' only, at most 120)."""
    if not _CLIP_ID.fullmatch(clip_id):
        raise ValueError(f"clip id {clip_id!r}: only letters, digits, '-' and '_' (1 to 120 of them)")
    return clip_id


def image_name(frame: int) -> str:
    """The crop of one frame (JPEG, RGB)."""
    return f"{frame:03d}.jpg"


def mask_name(frame: int) -> str:
    """The foreground mask of one frame (LZ4, one byte a pixel, 255 on the head with its hair)."""
    return f"{frame:03d}.mask.lz4"


def num_frames_of(members: Collection[str]) -> int:
    """How many frames a clip with these members has: each has a crop and a mask."""
    return (len(members) - 2 - (TRUTH_NAME in members)) // 2


def member_names(num_frames: int, *, has_truth: bool) -> list[str]:
    """Every file of a clip, in the order in which they are stored."""
    names = [RECORD_NAME]
    for frame in range(num_frames):
        names += [image_name(frame), mask_name(frame)]
    return [*names, LANDMARKS_NAME, *([TRUTH_NAME] if has_truth else [])]
