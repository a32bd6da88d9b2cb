"""What is known of a rendered video, brought into the crops that ingestion cuts from it."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from sheap.data.schema import NUM_LANDMARKS, TruthLayout
from sheap.data.truth import truth_rows
from sheap.head import HeadParams
from sheap.video.clip_cutting import Clip
from sheap.video.crops import landmarks_to_crop, with_depth

Array = NDArray[np.float32]

MAX_DISTANCE = 0.1
"""Median distance of found landmarks from the true ones, in sides of the crop, beyond which a clip shows another face."""

_PARAMS = tuple(item.name for item in fields(HeadParams))
_OTHERS = ("head_sha256", "fps", "picture_size", "K", "landmarks_px", "landmark_depths", "seen")


@dataclass(frozen=True)
class VideoTruth:
    """Truth of a video with T frames, at `fps` frames a second and `width` px wide.

    params: leading dim [T]; landmarks [T, 478, 3] px of the picture, as the landmark network would give them; seen [T, 478].
    """

    layout: TruthLayout
    fps: float
    width: int
    params: HeadParams
    landmarks: Array
    seen: NDArray[np.bool_]

    @classmethod
    def read(cls, path: Path) -> VideoTruth:
        """From an .npz as sheap.people.clips.clip_truth fills it. Raises ValueError naming the file and what is wrong with it."""
        wanted = (*_PARAMS, *_OTHERS)
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in wanted if name in stored.files}
        except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: not a readable .npz file ({error})") from None
        if missing := [name for name in wanted if name not in arrays]:
            raise ValueError(f"{path}: lacks {', '.join(missing)}; run the 'people' stage again")
        frames = len(arrays["landmarks_px"])
        expected = {
            "shape": (arrays["shape"].size,), "expression": (frames, arrays["expression"].shape[-1]),
            "eyelids": (frames, 2), "translation": (frames, 3), "landmarks_px": (frames, NUM_LANDMARKS, 2),
            "landmark_depths": (frames, NUM_LANDMARKS), "seen": (frames, NUM_LANDMARKS), "K": (3, 3), "picture_size": (2,),
        } | {name: (frames, 3) for name in _PARAMS if name.endswith("_rotvec")}  # fmt: skip
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{path}: {name}: expected {list(shape)}, got {list(arrays[name].shape)}")
        try:
            layout = TruthLayout(
                head_sha256=str(arrays["head_sha256"]), num_shape=arrays["shape"].size,
                num_expression=arrays["expression"].shape[-1],
            )  # fmt: skip
        except ValidationError as error:
            raise ValueError(f"{path}: {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
        tensors = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in _PARAMS}
        tensors["shape"] = tensors["shape"].expand(frames, -1)
        landmarks = with_depth(arrays["landmarks_px"], arrays["landmark_depths"], float(arrays["K"][0, 0]))
        width = int(arrays["picture_size"][1])
        return cls(layout, float(arrays["fps"]), width, HeadParams(**tensors), landmarks, arrays["seen"].astype(bool))

    def rows(self, clip: Clip, image_size: int) -> Array | None:
        """Rows of truth [T', D] (see TruthLayout) for a clip's frames, landmarks in px of its image_size x image_size crops.

        None when the landmarks found in any frame do not lie on the true ones: the clip shows something else in the picture.
        None, too, for a clip whose crops are turned: the true pose is that in the video as it was rendered.
        """
        if any(box.turn_deg for box in clip.boxes):
            return None
        frames = np.rint(np.array(clip.times_s) * self.fps).astype(int)
        if frames.max() >= len(self.landmarks):
            return None
        landmarks = np.stack(
            [
                landmarks_to_crop(self.landmarks[frame] * (width / self.width), box, image_size)
                for frame, box, width in zip(frames, clip.boxes, clip.picture_widths, strict=True)
            ]
        )
        distance = np.linalg.norm((landmarks - clip.landmarks_array())[..., :2], axis=-1)
        if np.median(distance, axis=1).max() > MAX_DISTANCE * image_size:
            return None
        inside = ((landmarks[..., :2] >= 0) & (landmarks[..., :2] < image_size)).all(-1)
        return truth_rows(self.params.index(torch.from_numpy(frames)), landmarks, self.seen[frames] & inside)
