"""Video files as a stream of upright RGB frames, picked by time.

Nothing here holds more than one frame, and every way a file can be bad ends in a VideoProblem with a short reason. FFmpeg
is handed an open file, never a name, which it would read as an address (`http:x.mp4`, `concat:plain.mp4`), and no protocol
to open another one with: playlists and external references end as unreadable.
"""

from __future__ import annotations

import codecs
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
import av.error
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from sheap.reading.regular_file import special_kind
from sheap.video.file_names import VIDEO_SUFFIXES

MAX_PIXELS = 8192 * 8192
"""A frame larger than this is refused before it is decoded: a header can promise more than memory holds."""

_MISSING_SHARE = 0.02
"""Share of the promised frames that may fail to come (edit lists hide some) before the file counts as cut short."""


_BROKEN = (
    *(av.error.FFmpegError, OSError, ValueError, RuntimeError, LookupError),
    *(ArithmeticError, EOFError, MemoryError, NotImplementedError),
)
"""What PyAV raises for broken files: its own errors, a third of which are no built-in ones, and what its bindings run into."""


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

    Raises VideoProblem with one of the reasons unreadable, not_a_file, empty_file, no_video_stream, unknown_codec, encrypted,
    too_large, no_frames. After the pass `num_decoded` counts the frames seen and `damage` says where decoding broke off
    (None: it did not). Cover pictures are not taken for the video.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.num_decoded = 0
        self.damage: str | None = None
        try:
            kind = special_kind(path)
            if kind is not None:
                raise VideoProblem("not_a_file", f"{kind}: reading it might never end")
            if path.stat().st_size == 0:
                raise VideoProblem("empty_file", "0 bytes")
            self._file = path.open("rb")
        except (OSError, ValueError) as error:
            raise VideoProblem("unreadable", _one_line(error)) from None
        try:
            with self._open() as container:
                place = _moving_pictures(container).index
            self._file.seek(0)
            self._container = self._open()
            self._stream = next(stream for stream in self._container.streams.video if stream.index == place)
            width, height = self._stream.codec_context.width, self._stream.codec_context.height
            if width * height > MAX_PIXELS:
                raise VideoProblem("too_large", f"{width}x{height} pixels a frame")
            # the pictures themselves may be larger than the container says
            self._stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        except VideoProblem:
            self._close()
            raise
        except _BROKEN as error:
            remark = _playlist_remark(self._file)
            self._close()
            raise VideoProblem("unreadable", remark or _one_line(error)) from None
        # frame threads start at once per file; one worker process a core is the parallelism here
        self._stream.thread_count = 1

    @property
    def rate(self) -> float:
        """Frames a second, on average, as the file says it; 25 where it says nothing."""
        return float(self._stream.average_rate or self._stream.guessed_rate or 25)

    @property
    def promised_frames(self) -> int | None:
        """How many frames the file says it holds; None where it does not."""
        return self._stream.frames or None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _open(self) -> av.container.InputContainer:
        file = _NamelessFile(self._file, self._path.suffix)
        return av.open(file, "r", options={"protocol_whitelist": "none"}, metadata_errors="replace")

    def _close(self) -> None:
        if hasattr(self, "_container"):
            self._container.close()
        self._file.close()

    def frames(self, fps: float, max_side: int = 1280) -> Iterator[VideoFrame]:
        """Frames at most `fps` a second, by presentation time, so that a variable frame rate gives an even stride.

        Larger pictures are shrunk (area average) to `max_side` on the longer side.
        Raises VideoProblem no_frames when not a single picture can be decoded.
        """
        if not fps > 0 or max_side < 16:
            raise ValueError(f"fps {fps}, max_side {max_side}: expected a positive rate and at least 16 px")
        period = 1.0 / fps
        start_s: float | None = None
        next_tick = taken = 0
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
            try:
                image = self._to_rgb(frame, max_side)
            except _BROKEN as error:
                self._note_damage(error)
                continue
            taken += 1
            yield VideoFrame(image, time_s, self.num_decoded - 1)
        if taken == 0:
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
            except _BROKEN as error:
                self._note_damage(error)
                return
            try:
                decoded = packet.decode()
            except _BROKEN as error:
                self._note_damage(error)
                continue
            for frame in decoded:
                self.num_decoded += 1
                yield frame

    def _note_damage(self, error: BaseException) -> None:
        """The first one tells where it began."""
        self.damage = self.damage or f"after {self.num_decoded} frames: {_one_line(error)}"

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


class _NamelessFile:
    """An open file for FFmpeg, whose ending it may know (to tell formats apart) and whose name and place it may not."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._file = file
        suffix = suffix.lower()
        self.name = f"video{suffix}" if suffix in VIDEO_SUFFIXES else "video"

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def _moving_pictures(container: av.container.InputContainer) -> av.VideoStream:
    """The stream to read. Raises VideoProblem when there is none that can be."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        remark = "a cover picture alone" if container.streams.video else "audio only?"
        raise VideoProblem("no_video_stream", f"the file has no moving pictures ({remark})")
    if any(_ENCRYPTION_KEY in stream.metadata for stream in streams):
        raise VideoProblem("encrypted", "its pictures are encrypted; decrypt it first")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise VideoProblem("unknown_codec", f"no decoder for its pictures, or they are encrypted ({container.format.name} file)")
    stream = readable[0] if len(readable) == 1 else _longest(container, readable)
    if stream.codec_context.codec_tag in _ENCRYPTED_TAGS:
        raise VideoProblem("encrypted", "its pictures are encrypted; decrypt it first")
    return stream


def _longest(container: av.container.InputContainer, streams: list[av.VideoStream]) -> av.VideoStream:
    """The first of several streams with more than one picture: cameras add a thumbnail as a stream like any other."""
    pictures = Counter(packet.stream.index for packet in islice(container.demux(streams), _LOOKED_AT) if packet.size)
    return next((stream for stream in streams if pictures[stream.index] > 1), streams[0])


_LOOKED_AT = 100
"""Packets that tell a thumbnail's stream from the video's."""
_ENCRYPTED_TAGS = ("encv", "drmi", "drms")
"""Sample entries of protected video: ISO 23001-7, and Apple's older ones."""
_ENCRYPTION_KEY = "enc_key_id"
"""What FFmpeg notes of a Matroska track's encryption."""


_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<smil", b"v=0", b"[Reference]", b"[playlist]")


def _playlist_remark(file: BinaryIO) -> str | None:
    """What to say of a file that only names other files."""
    try:
        file.seek(0)
        is_playlist = file.read(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(_PLAYLISTS)
    except (OSError, ValueError):
        return None
    return "a playlist: it names other files, and only a file that holds its own pictures is read" if is_playlist else None


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:200] or type(error).__name__
