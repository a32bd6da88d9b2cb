"""One video from file to clips: decode, shots, tracks, crops; every frame ends as kept or under a named reason."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sheap.data.schema import ClipRecord, TruthLayout, check_clip_id
from sheap.video.clip_cutting import Clip, ClipCutter, CutSettings
from sheap.video.clip_truth import VideoTruth
from sheap.video.decoding import VideoProblem, VideoReader
from sheap.video.drops import DropLog
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.fingerprint import VideoFingerprint
from sheap.video.following import followed_frames
from sheap.video.foreground import MaskBackend
from sheap.video.quality import FrameFilter
from sheap.video.regrouping import TrackLooks, group_tracks, look_of


@dataclass(frozen=True)
class VideoSource:
    """What the corpus knows of one video."""

    path: Path
    name: str
    """How the corpus names the file: a path that means the same on every machine where it can."""
    sha256: str
    identity: str
    split: Literal["train", "val"] | None
    licence: str
    origin: str
    truth: Path | None = None
    """Of a rendered video: the file that says what is known of it."""
    truth_sha256: str | None = None


@dataclass(frozen=True)
class IngestSettings:
    """How videos are read. fps: frames taken a second. max_side: larger pictures are shrunk to it before anything."""

    fps: float
    max_side: int
    cut_threshold: float
    cut: CutSettings
    filter: FrameFilter


@dataclass
class VideoReport:
    """What became of one video. status: kept, or dropped with a reason to count by and a line for a person."""

    video: str
    sha256: str
    identity: str
    status: str = "dropped"
    reason: str | None = None
    detail: str | None = None
    damage: str | None = None
    frames_decoded: int = 0
    frames_sampled: int = 0
    frames_with_face: int = 0
    frames_kept: int = 0
    shots: int = 0
    tracks: int = 0
    dropped_frames: dict[str, int] = field(default_factory=dict)
    """Face frames by reason; two faces in a frame count twice. `no_face` counts frames."""
    clips: list[str] = field(default_factory=list)
    clips_turned: int = 0
    """Clips of a head that lies on its side or upside down: their crops are turned upright."""
    clips_with_truth: int = 0
    truth_refused: int = 0
    """Clips of a rendered video that show something else than its head, such as a face on a poster behind it."""
    people: list[int] = field(default_factory=list)
    """For each clip, which of the video's people it shows, counted from 0; people of two numbers may be the same."""
    duration_s: float = 0.0
    fingerprint: list[str] = field(default_factory=list)
    """What the video looks like, to find copies of it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def ingest_video(
    source: VideoSource,
    settings: IngestSettings,
    landmarker: FaceLandmarker,
    mask_backend: MaskBackend,
    store: Callable[[ClipRecord, Clip, NDArray[np.float32] | None], None],
    dropped: DropLog | None = None,
) -> VideoReport:
    """Reads one video and hands every clip to `store`, with rows of truth where its record says that there are some.

    A bad file is a report with a reason, never an exception.
    dropped: gathers a few pictures of what was dropped, for those who ask.
    """
    report = VideoReport(source.name, source.sha256, source.identity)
    dropped = DropLog() if dropped is None else dropped
    fingerprint = VideoFingerprint()
    looks: dict[int, TrackLooks] = {}
    track_of_clip: list[int] = []
    try:
        truth = None if source.truth is None else VideoTruth.read(source.truth)
    except ValueError as error:
        report.reason, report.detail = "unreadable_truth", str(error)
        return report

    def emitter(shot: int, track: int) -> Callable[[Clip], None]:
        def emit(clip: Clip) -> None:
            rows = None if truth is None else truth.rows(clip, settings.cut.image_size)
            layout = None if truth is None or rows is None else truth.layout
            record = _record(source, clip, settings, mask_backend.name, shot, track, len(report.clips), layout)
            store(record, clip, rows)
            report.clips_turned += record.turned_deg != 0
            report.clips_with_truth += layout is not None
            report.truth_refused += truth is not None and rows is None
            report.clips.append(record.clip_id)
            track_of_clip.append(track)
            seen = looks.setdefault(track, TrackLooks(clip.times_s[0], clip.times_s[-1]))
            seen.extend(clip.times_s[-1], *(look_of(clip.images[place], clip.masks[place]) for place in (0, -1)))
            report.frames_kept += record.num_frames

        return emit

    try:
        with VideoReader(source.path) as video:
            cutters: dict[int, ClipCutter] = {}
            for followed in followed_frames(
                video, landmarker, fps=settings.fps, max_side=settings.max_side, cut_threshold=settings.cut_threshold
            ):
                frame, faces = followed.frame, followed.faces
                report.frames_sampled += 1
                report.duration_s = round(frame.time_s, 3)
                fingerprint.add(frame.image, frame.time_s)
                report.shots = followed.shot + 1
                for number in [n for n in cutters if n not in faces]:
                    cutters.pop(number).close()
                for number, face in faces.items():
                    if number not in cutters:
                        report.tracks += 1
                        cutters[number] = ClipCutter(
                            settings.cut, settings.filter, mask_backend, emitter(report.shots - 1, number), dropped
                        )
                    cutters[number].add(frame, face)
                report.frames_with_face += bool(faces)
                if not faces:
                    dropped.note("no_face", frame.image)
            for cutter in cutters.values():
                cutter.close()
            report.frames_decoded, report.damage = video.num_decoded, video.damage
    except VideoProblem as problem:
        report.reason, report.detail = problem.reason, problem.detail
    report.dropped_frames, report.fingerprint = dropped.counts, fingerprint.to_text()
    people = group_tracks(looks)
    report.people = [people[track] for track in track_of_clip]
    if report.clips:
        report.status = "kept"
    elif report.reason is None:
        # the reason that cost the most frames names the video's
        report.reason = max(sorted(report.dropped_frames), key=lambda name: report.dropped_frames[name])
        report.detail = ", ".join(f"{name}: {count} frames" for name, count in report.dropped_frames.items())
    return report


def _record(
    source: VideoSource, clip: Clip, settings: IngestSettings, mask_backend: str, shot: int, track: int, part: int,
    truth: TruthLayout | None,
) -> ClipRecord:
    return ClipRecord(
        clip_id=check_clip_id(f"{_slug(source.name)}-{source.sha256[:8]}-{part:03d}"),
        identity=source.identity, split=source.split, video=source.name, video_sha256=source.sha256,
        licence=source.licence, origin=source.origin, image_size=settings.cut.image_size, num_frames=len(clip.images),
        shot=shot, track=track, times_s=clip.times_s,
        boxes_px=[tuple(round(float(v), 3) for v in box) for box in clip.boxes],
        turned_deg=round(clip.boxes[0].turn_deg),
        sharpness=clip.sharpness, presence=clip.presence, pose_deg=clip.pose_deg, mask_backend=mask_backend,
        truth=truth,
    )


def _slug(name: str) -> str:
    """Up to 40 plain characters that remind of a file name."""
    stem = unicodedata.normalize("NFKD", Path(name).stem).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:40] or "video"


