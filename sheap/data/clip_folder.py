"""A clip as a folder of files: what ingestion leaves for the shards."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.data.schema import (
    LANDMARKS_NAME,
    NUM_LANDMARKS,
    RECORD_NAME,
    ClipRecord,
    image_name,
    mask_name,
    member_names,
)


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG file."""
    ok, content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return content.tobytes()


def encode_png(mask: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] as a PNG file."""
    ok, content = cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    assert ok
    return content.tobytes()


def encode_landmarks(landmarks: NDArray[np.float32]) -> bytes:
    """float32 [T, 478, 3] as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(landmarks, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def decode_image(content: bytes, where: str) -> NDArray[np.uint8]:
    """A JPEG file as uint8 RGB [H, W, 3]. Raises ValueError naming `where`."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    if image is None:
        raise ValueError(f"{where}: not a readable JPEG")
    return image


def decode_mask(content: bytes, where: str) -> NDArray[np.uint8]:
    """A PNG file as uint8 [H, W]. Raises ValueError naming `where`."""
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if mask is None:
        raise ValueError(f"{where}: not a readable PNG")
    return mask


def decode_landmarks(content: bytes, num_frames: int, where: str) -> NDArray[np.float32]:
    """An .npy file as float32 [num_frames, 478, 3]; never unpickles. Raises ValueError naming `where`."""
    try:
        landmarks = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise ValueError(f"{where}: not a plain .npy array") from None
    if landmarks.shape != (num_frames, NUM_LANDMARKS, 3) or landmarks.dtype != np.float32:
        raise ValueError(
            f"{where}: expected float32 [{num_frames}, {NUM_LANDMARKS}, 3], "
            f"got {landmarks.dtype} {list(landmarks.shape)}"
        )
    return landmarks


def write_clip_folder(
    folder: Path,
    record: ClipRecord,
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    landmarks: NDArray[np.float32],
    jpeg_quality: int = 95,
) -> None:
    """Writes one clip: images uint8 [S, S, 3], masks uint8 [S, S], landmarks [T, 478, 3] px. The folder must be new."""
    assert len(images) == len(masks) == len(landmarks) == record.num_frames
    folder.mkdir(parents=True)
    for frame, (image, mask) in enumerate(zip(images, masks, strict=True)):
        (folder / image_name(frame)).write_bytes(encode_jpeg(image, jpeg_quality))
        (folder / mask_name(frame)).write_bytes(encode_png(mask))
    (folder / LANDMARKS_NAME).write_bytes(encode_landmarks(landmarks))
    (folder / RECORD_NAME).write_bytes(record.to_json())


def read_clip_record(folder: Path) -> ClipRecord:
    """The record of a clip folder. Raises ValueError naming the file."""
    path = folder / RECORD_NAME
    try:
        record = ClipRecord.from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: missing") from None
    if record.clip_id != folder.name:
        raise ValueError(f"{path}: clip_id is {record.clip_id!r}, but its folder is {folder.name!r}")
    return record


def read_clip_members(folder: Path, record: ClipRecord) -> list[tuple[str, bytes]]:
    """Every file of a clip in stored order, with exactly the expected names. Raises ValueError naming the folder."""
    expected = member_names(record.num_frames)
    present = {path.name for path in folder.iterdir()}
    missing, extra = sorted(set(expected) - present), sorted(present - set(expected))
    if missing or extra:
        raise ValueError(f"{folder}: missing {missing[:3]}, unexpected {extra[:3]}")
    return [(name, (folder / name).read_bytes()) for name in expected]
