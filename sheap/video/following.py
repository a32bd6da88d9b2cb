"""The faces of a video, shot by shot and track by track: what ingestion cuts clips from and footage is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sheap.video.decoding import VideoFrame, VideoReader
from sheap.video.face_region import FaceLandmarks
from sheap.video.face_search import FaceModels
from sheap.video.shots import CUT_THRESHOLD, ShotDetector
from sheap.video.tracking import FaceTracker


@dataclass(frozen=True)
class FollowedFrame:
    """A frame, the number of its shot, and its faces by track; a track lies within one shot."""

    frame: VideoFrame
    shot: int
    faces: dict[int, FaceLandmarks]


def followed_frames(
    video: VideoReader, models: FaceModels, *, fps: float, max_side: int = 1280, cut_threshold: float = CUT_THRESHOLD
) -> Iterator[FollowedFrame]:
    """Every frame that is taken at `fps` a second. Raises VideoProblem as VideoReader.frames does."""
    tracker, shots = FaceTracker(models), ShotDetector(cut_threshold)
    shot = -1
    for frame in video.frames(fps, max_side):
        if shots.is_cut(frame.image) or shot < 0:
            shot += 1
            tracker.start_shot()
        yield FollowedFrame(frame, shot, tracker.update(frame.image))
