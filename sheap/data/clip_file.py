"""A clip as one file: what ingestion leaves for the shards.

It is a tar like the shards themselves. One file a clip, not one a picture: on many file systems making a file takes
longer than compressing the picture in it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.data.codecs import encode_jpeg, encode_landmarks, encode_mask
from sheap.data.schema import LANDMARKS_NAME, RECORD_NAME, TRUTH_NAME, ClipRecord, image_name, mask_name, member_names
from sheap.data.tar_writer import write_tar
from sheap.data.truth import encode_truth

CLIP_SUFFIX = ".tar"


def write_clip_file(
    folder: Path,
    record: ClipRecord,
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    landmarks: NDArray[np.float32],
    jpeg_quality: int = 95,
    truth: NDArray[np.float32] | None = None,
) -> Path:
    """Writes FOLDER/CLIP_ID.tar, see `clip_members`."""
    path = folder / f"{record.clip_id}{CLIP_SUFFIX}"
    write_tar(path, clip_members(record, images, masks, landmarks, jpeg_quality, truth))
    return path


def clip_members(
    record: ClipRecord,
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    landmarks: NDArray[np.float32],
    jpeg_quality: int = 95,
    truth: NDArray[np.float32] | None = None,
) -> list[tuple[str, bytes]]:
    """A clip's files in stored order: images uint8 [S, S, 3], masks uint8 [S, S], landmarks [T, 478, 3] px, truth [T, D] where
    the record says that there is one."""
    assert len(images) == len(masks) == len(landmarks) == record.num_frames
    assert (truth is None) == (record.truth is None)
    members = [(RECORD_NAME, record.to_json())]
    for frame, (image, mask) in enumerate(zip(images, masks, strict=True)):
        members += [(image_name(frame), encode_jpeg(image, jpeg_quality)), (mask_name(frame), encode_mask(mask))]
    members.append((LANDMARKS_NAME, encode_landmarks(landmarks)))
    if truth is not None and record.truth is not None:
        assert truth.shape == (record.num_frames, sum(record.truth.sizes))
        members.append((TRUTH_NAME, encode_truth(truth)))
    return members


def read_clip_record(path: Path) -> ClipRecord:
    """The record of a clip file. Raises ValueError naming the file."""
    with _opened(path) as archive:
        record = _record_of(archive, path)
    return record


def read_clip_members(path: Path) -> tuple[ClipRecord, list[tuple[str, bytes]]]:
    """A clip's record and every member in stored order, with exactly the expected names.

    Raises ValueError naming the file.
    """
    with _opened(path) as archive:
        record = _record_of(archive, path)
        try:
            infos = archive.getmembers()
            members = [(info.name, _content(archive, info, path)) for info in infos]
        except tarfile.TarError as error:
            raise ValueError(f"{path}: not a whole clip ({error})") from None
    expected = member_names(record.num_frames, has_truth=record.truth is not None)
    present = [name for name, _ in members]
    if present != expected:
        missing, extra = sorted(set(expected) - set(present)), sorted(set(present) - set(expected))
        raise ValueError(f"{path}: missing {missing[:3]}, unexpected {extra[:3]}")
    return record, members


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except FileNotFoundError:
        raise ValueError(f"{path}: missing") from None
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a clip file ({error})") from None


def _record_of(archive: tarfile.TarFile, path: Path) -> ClipRecord:
    where = f"{path}: {RECORD_NAME}"
    try:
        info = archive.next()
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a clip file ({error})") from None
    if info is None or info.name != RECORD_NAME:
        raise ValueError(f"{where}: missing")
    record = ClipRecord.from_json(_content(archive, info, path), where)
    if record.clip_id != path.stem:
        raise ValueError(f"{where}: clip_id is {record.clip_id!r}, but its file is {path.name!r}")
    return record


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> bytes:
    try:
        file = archive.extractfile(info)
        content = b"" if file is None else file.read()
    except tarfile.TarError:
        content = b""
    if len(content) != info.size:
        raise ValueError(f"{path}: the file ends inside {info.name}")
    return content
