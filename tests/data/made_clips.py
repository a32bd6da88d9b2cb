"""Small clips that the data tests make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from sheap.data.augment import AugmentParams
from sheap.data.codecs import encode_jpeg, encode_landmarks, encode_mask
from sheap.data.schema import LANDMARKS_NAME, RECORD_NAME, ClipRecord, image_name, mask_name
from sheap.data.shard_writer import ClipMembers

SIZE = 32
AUGMENT = AugmentParams.model_validate(
    yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["train"]["pairs"]["augment"]
)
"""As the demo augments."""


def make_record(clip_id: str, num_frames: int = 4, identity: str | None = None, split: str | None = None) -> ClipRecord:
    return ClipRecord(
        clip_id=clip_id, identity=identity or clip_id, split=split, video=f"{clip_id}.mp4", video_sha256="0" * 64,
        licence="test", origin="drawn by the test", image_size=SIZE, num_frames=num_frames,
        times_s=[0.04 * t for t in range(num_frames)], boxes_px=[(50.0, 50.0, 40.0)] * num_frames,
        sharpness=[1.0] * num_frames, presence=[1.0] * num_frames, pose_deg=[(0.0, 0.0, 0.0)] * num_frames,
        mask_backend="none",
    )


def make_clip(clip_id: str, num_frames: int = 4, identity: str | None = None) -> ClipMembers:
    """A clip whose pictures name it: clip-dependent colour, frame number in blue, landmarks on bright dots."""
    rng = np.random.default_rng(sum(clip_id.encode()))
    record = make_record(clip_id, num_frames, identity)
    members = [(RECORD_NAME, record.to_json())]
    landmarks = rng.uniform(4, SIZE - 4, (num_frames, 478, 3)).astype(np.float32)
    for t in range(num_frames):
        image = np.full((SIZE, SIZE, 3), rng.integers(40, 200, 3), np.uint8)
        image[..., 2] = 10 * t
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:24, 4 + t : 20] = 255
        members += [(image_name(t), encode_jpeg(image, 95)), (mask_name(t), encode_mask(mask))]
    members.append((LANDMARKS_NAME, encode_landmarks(landmarks)))
    return ClipMembers(record, members)
