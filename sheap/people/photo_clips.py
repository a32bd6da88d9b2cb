"""Photos of a rendered person as a clip: the form in which everything else is stored and read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from sheap.data.clip_file import clip_members
from sheap.data.schema import ClipRecord, TruthLayout
from sheap.data.shard_writer import ClipMembers
from sheap.data.truth import truth_rows
from sheap.head import HeadParams
from sheap.people.cast import CastMember
from sheap.people.clips import LABELS
from sheap.people.landmark_sight import VISIBLE
from sheap.people.photos import TrainingPhoto
from sheap.video.crops import with_depth
from sheap.video.head_pose import fit_head_pose

LICENCE = "CC0-1.0"
"""Of what we render from the open head model and our own looks."""


def photo_clip(
    member: CastMember, photos: Sequence[TrainingPhoto], layout: TruthLayout, split: Literal["train", "val"], quality: int = 95
) -> ClipMembers:
    """One clip of a person's photos, each a frame with its mask, landmarks (the true ones) and truth."""
    size = photos[0].picture.shape[0]
    landmarks = np.stack([with_depth(photo.landmarks_px, photo.landmark_depths, photo.K[0, 0]) for photo in photos])
    masks = [np.where(photo.labels != LABELS["background"], 255, 0).astype(np.uint8) for photo in photos]
    # Coefficients as the head model knows them: whoever draws photos keeps the shape out of the pose.
    params = HeadParams.stack([photo.params for photo in photos]).replace(
        shape=torch.from_numpy(member.shape).expand(len(photos), -1)
    )
    seen = np.stack([photo.landmark_state == VISIBLE for photo in photos])
    record = ClipRecord(
        clip_id=member.name, identity=member.name, split=split, video=f"{member.name} (rendered photos)",
        video_sha256=hashlib.sha256(repr(member.seed_path).encode()).hexdigest(), licence=LICENCE,
        origin="rendered by this project", image_size=size, num_frames=len(photos),
        times_s=[float(k) for k in range(len(photos))], boxes_px=[(size / 2, size / 2, float(size))] * len(photos),
        sharpness=[1.0] * len(photos), presence=[1.0] * len(photos),
        pose_deg=[fit_head_pose(points).euler_deg() for points in landmarks], mask_backend="truth", truth=layout,
    )  # fmt: skip
    pictures = [photo.picture for photo in photos]
    members = clip_members(record, pictures, masks, landmarks, quality, truth_rows(params, landmarks, seen))
    return ClipMembers(record, members)
