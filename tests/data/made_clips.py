"""Small clips that the data tests make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from sheap.data.augment import AugmentParams
from sheap.data.clip_file import clip_members
from sheap.data.schema import ClipRecord, TruthLayout
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


def make_clip(
    clip_id: str, num_frames: int = 4, identity: str | None = None, truth: tuple[TruthLayout, np.ndarray] | None = None
) -> ClipMembers:
    """A clip whose pictures name it: clip-dependent colour, frame number in blue, landmarks on bright dots. truth: layout and
    rows of a rendered one."""
    rng = np.random.default_rng(sum(clip_id.encode()))
    layout, rows = truth or (None, None)
    record = make_record(clip_id, num_frames, identity).model_copy(update={"truth": layout})
    landmarks = rng.uniform(4, SIZE - 4, (num_frames, 478, 3)).astype(np.float32)
    images, masks = [], []
    for t in range(num_frames):
        image = np.full((SIZE, SIZE, 3), rng.integers(40, 200, 3), np.uint8)
        image[..., 2] = 10 * t
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:24, 4 + t : 20] = 255
        images.append(image)
        masks.append(mask)
    return ClipMembers(record, clip_members(record, images, masks, landmarks, truth=rows))
