"""From a track's frames to finished clips: smoothed boxes, crops, masks, quality, in one pass with bounded memory.

The smoothing window looks ahead, so a frame is finished only when the window around it is full: at most
WINDOW_SIGMAS * smooth_s seconds of frames wait, and at most `max_frames` finished crops of an unfinished clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from sheap.video.crops import CropBox, crop_box_of_pose, cut_crop, inside_picture, landmarks_to_crop, turn_to_level
from sheap.video.decoding import VideoFrame
from sheap.video.drops import DropLog
from sheap.video.face_landmarker import FaceLandmarks
from sheap.video.foreground import MaskBackend
from sheap.video.head_pose import HeadPose, fit_head_pose
from sheap.video.mask_sequence import MaskSequence
from sheap.video.quality import FrameFilter, face_visible, sharpness
from sheap.video.smoothing import smooth_at

WINDOW_SIGMAS = 3.0

MAX_DEPARTURE = 0.02
"""How far smoothing may move a box or change its side, in sides: it is there for jitter, not to lose a fast head."""


@dataclass(frozen=True)
class CutSettings:
    """How clips are cut.

    image_size: side of the crops, px. smooth_s: sigma of the boxes' smoothing. mask_every_s: time between key frames of
    the masks.
    """

    image_size: int
    smooth_s: float
    min_frames: int
    max_frames: int
    mask_every_s: float


@dataclass
class Clip:
    """Finished frames of one track, in time. Images uint8 [S, S, 3], masks uint8 [S, S], landmarks [478, 3] crop px."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    masks: list[NDArray[np.uint8]] = field(default_factory=list)
    landmarks: list[NDArray[np.float32]] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    boxes: list[CropBox] = field(default_factory=list)
    """All turned alike, by quarters."""
    picture_widths: list[int] = field(default_factory=list)
    """Of the whole pictures that the boxes lie in, px."""
    sharpness: list[float] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    pose_deg: list[tuple[float, float, float]] = field(default_factory=list)

    def keep(self, chosen: list[bool]) -> None:
        """Leaves out the frames that are not chosen."""
        for item in fields(self):
            setattr(self, item.name, [value for value, is_kept in zip(getattr(self, item.name), chosen) if is_kept])

    def landmarks_array(self) -> NDArray[np.float32]:
        """All frames' landmarks [T, 478, 3]."""
        return np.stack(self.landmarks)


@dataclass(frozen=True)
class _Seen:
    frame: VideoFrame
    face: FaceLandmarks
    pose: HeadPose
    box: NDArray[np.float64]
    """Centre x, centre y, log of the side."""
    turn_deg: float


class ClipCutter:
    """Cuts one track. `add` its frames in order, then `close`; finished clips go to `emit`, drops into `dropped`."""

    def __init__(
        self,
        settings: CutSettings,
        frame_filter: FrameFilter,
        mask_backend: MaskBackend,
        emit: Callable[[Clip], None],
        dropped: DropLog,
    ) -> None:
        self._settings, self._filter, self._mask_backend = settings, frame_filter, mask_backend
        self._emit, self._dropped = emit, dropped
        self._window: list[_Seen] = []
        self._next = 0
        self._start_clip()

    def add(self, frame: VideoFrame, face: FaceLandmarks) -> None:
        """The track's next frame."""
        try:
            pose = fit_head_pose(face.points)
        except ValueError:
            self._dropped.note("doubtful_landmarks", frame.image)
            return
        turn = self._turn_of(pose)
        if self._window and turn != self._window[-1].turn_deg:
            self._end_clip()  # crops of one clip are turned alike
        box = crop_box_of_pose(pose, turn)
        place = np.array([box.center_x, box.center_y, math.log(box.side)])
        self._window.append(_Seen(frame, face, pose, place, turn))
        reach = WINDOW_SIGMAS * self._settings.smooth_s
        while self._next < len(self._window) and self._window[self._next].frame.time_s + reach <= frame.time_s:
            self._finish_next()

    def close(self) -> None:
        """The track has ended: finishes what waits."""
        self._end_clip()

    def _end_clip(self) -> None:
        while self._next < len(self._window):
            self._finish_next()
        self._window, self._next = [], 0
        self._close_clip()

    def _turn_of(self, pose: HeadPose) -> float:
        """Quarter turns, in degrees, that bring the head upright: the last frame's while none is certainly better."""
        in_plane = pose.in_plane_deg()
        last = self._window[-1].turn_deg if self._window else None
        turn = turn_to_level(in_plane, self._filter.max_roll_deg)
        if turn % 90 == 0 and (last is None or abs(roll_left(in_plane, last)) > self._filter.max_roll_deg):
            return turn
        return 90.0 * round(in_plane / 90) % 360 if last is None else last

    def _finish_next(self) -> None:
        seen = self._window[self._next]
        times = np.array([other.frame.time_s for other in self._window])
        values = np.array([other.box for other in self._window])
        smoothed = smooth_at(times, values, self._next, self._settings.smooth_s)
        reach_px = MAX_DEPARTURE * math.exp(seen.box[2])
        limits = np.array([reach_px, reach_px, MAX_DEPARTURE])
        x, y, log_side = seen.box + np.clip(smoothed - seen.box, -limits, limits)
        self._cut(seen, CropBox(float(x), float(y), math.exp(log_side), seen.turn_deg))
        self._next += 1
        # what lies behind every later window is let go
        reach = WINDOW_SIGMAS * self._settings.smooth_s
        if self._next < len(self._window):
            oldest = self._window[self._next].frame.time_s - reach
            while self._window[0].frame.time_s < oldest:
                self._window.pop(0)
                self._next -= 1

    def _cut(self, seen: _Seen, box: CropBox) -> None:
        size = self._settings.image_size
        height, width = seen.frame.image.shape[:2]
        landmarks = landmarks_to_crop(seen.face.points, box, size)
        crop = cut_crop(seen.frame.image, box, size)
        rows, columns = inside_picture(box, size, height, width)
        pose_deg = seen.pose.euler_deg(box.turn_deg)
        crispness = sharpness(crop, landmarks)
        reason = self._filter.reason_to_drop(
            head_px=box.side, sharpness=crispness, presence=seen.face.presence, pose_deg=pose_deg,
            outside=1.0 - float(rows.mean() * columns.mean()), roll_deg=roll_left(seen.pose.in_plane_deg(), box.turn_deg),
        )
        if reason is not None:
            self._dropped.note(reason, crop)
            return
        self._masks.add(crop, landmarks, (rows, columns), seen.frame.time_s)
        clip = self._clip
        clip.images.append(crop)
        clip.landmarks.append(landmarks)
        clip.times_s.append(round(seen.frame.time_s, 6))
        clip.boxes.append(box)
        clip.picture_widths.append(width)
        clip.sharpness.append(round(crispness, 6))
        clip.presence.append(round(seen.face.presence, 6))
        clip.pose_deg.append((round(pose_deg[0], 3), round(pose_deg[1], 3), round(pose_deg[2], 3)))
        if len(clip.images) == self._settings.max_frames:
            self._close_clip()

    def _close_clip(self) -> None:
        clip = self._clip
        if len(clip.images) >= self._settings.min_frames:
            clip.masks = self._masks.finish()
            self._drop_hidden(clip)
        if len(clip.images) >= self._settings.min_frames:
            self._emit(clip)
        elif clip.images:
            self._dropped.note("short_clip", clip.images[0], count=len(clip.images))
        self._start_clip()

    def _drop_hidden(self, clip: Clip) -> None:
        """Drops the frames in which something stands before the face; only finished masks can tell."""
        least = self._filter.min_face_visible
        chosen = [face_visible(mask, points) >= least for mask, points in zip(clip.masks, clip.landmarks, strict=True)]
        for image, is_chosen in zip(clip.images, chosen, strict=True):
            if not is_chosen:
                self._dropped.note("hidden_face", image)
        if not all(chosen):
            clip.keep(chosen)

    def _start_clip(self) -> None:
        self._clip = Clip()
        self._masks = MaskSequence(self._mask_backend, self._settings.mask_every_s)


def roll_left(in_plane_deg: float, turn_deg: float) -> float:
    """Roll of a face in a crop that is turned by `turn_deg`, -180 to 180."""
    return (in_plane_deg - turn_deg + 180) % 360 - 180
