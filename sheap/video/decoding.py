"""Video files as a stream of upright RGB frames, picked by time.

Nothing here holds more than one frame, and every way a file can be bad ends in a VideoProblem with a short reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

MAX_PIXELS = 8192 * 8192
"""A frame larger than this is refused before it is decoded: a header can promise more than memory holds."""

_MISSING_SHARE = 0.02
"""Share of the promised frames that may fail to come (edit lists hide some) before the file counts as cut short."""


class VideoProblem(Exception):
    """Why a video cannot be used: `reason` is a short name to count by, `detail` one line for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[VideoProblem], tuple[str, str]]:
        return VideoProblem, (self.reason, self.detail)


@dataclass(frozen=True)
class VideoFrame:
    """One picture: uint8 RGB [H, W, 3], upright, square pixels; its time from the start; its number as decoded."""

    image: NDArray[np.uint8]
    time_s: float
    number: int


class VideoReader:
    """Opens a video file for one pass: `with VideoReader(path) as video: for frame in video.frames(fps): ...`.

    Raises VideoProblem with one of the reasons unreadable, empty_file, no_video_stream, too_large, no_frames.
    After the pass `num_decoded` counts the frames seen and `damage` says where decoding broke off (None: it did not).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.num_decoded = 0
        self.damage: str | None = None
        try:
            if path.stat().st_size == 0:
                raise VideoProblem("empty_file", "0 bytes")
            self._container = av.open(str(path), metadata_errors="replace")
        except OSError as error:  # PyAV's file errors are OSErrors too
            raise VideoProblem("unreadable", _one_line(error)) from None
        except (ValueError, RuntimeError) as error:
            raise VideoProblem("unreadable", _one_line(error)) from None
        try:
            if not self._container.streams.video:
                raise VideoProblem("no_video_stream", "the file has no pictures (audio only?)")
            self._stream = self._container.streams.video[0]
            width, height = self._stream.codec_context.width, self._stream.codec_context.height
            if width * height > MAX_PIXELS:
                raise VideoProblem("too_large", f"{width}x{height} pixels a frame")
        except VideoProblem:
            self._container.close()
            raise
        # frame threads start at once per file; one worker process a core is the parallelism here
        self._stream.thread_count = 1

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def frames(self, fps: float, max_side: int = 1280) -> Iterator[VideoFrame]:
        """Frames at most `fps` a second, by presentation time, so that a variable frame rate gives an even stride.

        Larger pictures are shrunk (area average) to `max_side` on the longer side.
        Raises VideoProblem no_frames when not a single picture can be decoded.
        """
        if fps <= 0 or max_side < 16:
            raise ValueError(f"fps {fps}, max_side {max_side}: expected a positive rate and at least 16 px")
        period = 1.0 / fps
        start_s: float | None = None
        next_tick = 0
        for frame in self._decode():
            time_s = self._time(frame)
            if start_s is None:
                start_s = time_s
            time_s -= start_s
            # a tenth of a period: 29.97 frames a second asked for 30 must not skip by rounding
            tick = math.floor(time_s / period + 0.1)
            if tick < next_tick:
                continue
            next_tick = tick + 1
            yield VideoFrame(self._to_rgb(frame, max_side), time_s, self.num_decoded - 1)
        if self.num_decoded == 0:
            raise VideoProblem("no_frames", self.damage or "the video stream holds no pictures")

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every picture. A broken packet is skipped; a broken container ends the pass; both are remembered."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                self._note_missing_frames()
                return
            except (OSError, ValueError, RuntimeError) as error:
                self.damage = f"after {self.num_decoded} frames: {_one_line(error)}"
                return
            try:
                decoded = packet.decode()
            except (OSError, ValueError, RuntimeError) as error:
                self.damage = self.damage or f"after {self.num_decoded} frames: {_one_line(error)}"
                continue
            for frame in decoded:
                self.num_decoded += 1
                yield frame

    def _note_missing_frames(self) -> None:
        """A file that was cut off often ends without any error; only its header knows better."""
        promised = self._stream.frames  # 0 where the container does not say
        if self.damage is None and promised - self.num_decoded > _MISSING_SHARE * promised:
            self.damage = f"holds {self.num_decoded} of the {promised} frames that its header promises"

    def _time(self, frame: av.VideoFrame) -> float:
        if frame.time is not None:
            return float(frame.time)
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        return float((self.num_decoded - 1) / rate)

    def _to_rgb(self, frame: av.VideoFrame, max_side: int) -> NDArray[np.uint8]:
        """uint8 RGB, square pixels, at most `max_side` long, turned as the file asks."""
        width, height = frame.width, frame.height
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        if 0.1 < aspect < 10:
            width = max(1, round(width * aspect))
        shrink = min(1.0, max_side / max(width, height))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        if size != (frame.width, frame.height):
            frame = frame.reformat(width=size[0], height=size[1], format="rgb24", interpolation=Interpolation.AREA)
        image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return np.ascontiguousarray(as_displayed(image, display_matrix(frame)))


def display_matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    """How the file wants this frame to be shown: [3, 3], points (x, y, 1) of the frame times it; None: as it is."""
    told: Any = frame.side_data.get("DISPLAYMATRIX")
    values = np.frombuffer(b"" if told is None else bytes(told), np.int32)
    return values.reshape(3, 3) if values.size == 9 else None


def as_displayed(image: NDArray[np.uint8], matrix: NDArray[np.int32] | None) -> NDArray[np.uint8]:
    """An image [H, W, 3] turned by the quarter turn or mirrored as the nearest of the eight that pictures can stand."""
    if matrix is None or not matrix[:2, :2].any():
        return image
    (a, b), (c, d) = matrix[:2, :2].astype(np.int64)
    if abs(a) + abs(d) < abs(b) + abs(c):  # what lay along a row lies along a column
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:200] or type(error).__name__
