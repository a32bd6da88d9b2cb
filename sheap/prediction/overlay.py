"""Predicted heads drawn into the pictures that they were seen in."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
import torch
from numpy.typing import NDArray

from sheap.files import NotWritten, whole_path
from sheap.geometry.cameras import Cameras, project
from sheap.head import HeadModel, HeadParams
from sheap.prediction.cameras import picture_cameras
from sheap.prediction.rows import Prediction
from sheap.render.mesh import mesh_normals, rasterize_mesh

COLOURS = ((0.95, 0.85, 0.75), (0.55, 0.80, 1.0), (0.70, 0.95, 0.60), (1.0, 0.70, 0.55), (0.85, 0.70, 1.0), (1.0, 0.95, 0.5))
"""Of the people, by number, over and over."""
OPACITY = 0.6
BACKGROUND = 40
"""Grey behind the heads that are shown by themselves, of 255."""


@dataclass(frozen=True)
class Drawn:
    """A picture [H, W, 3] uint8 with heads over it, and the heads alone."""

    overlay: NDArray[np.uint8]
    alone: NDArray[np.uint8]


class HeadDrawer:
    """Draws a prediction's heads, frame by frame; the head model is on the CPU."""

    def __init__(self, head: HeadModel, prediction: Prediction) -> None:
        self._head = head
        self._seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._people = {person.number: person for person in prediction.people}
        for person in prediction.people:
            for row, frame in enumerate(person.rows.frames.tolist()):
                self._seen[frame].append((person.number, row))

    def draw(self, image: NDArray[np.uint8], frame: int = 0) -> Drawn:
        """The heads of a frame over its picture [H, W, 3] uint8; those seen smallest are behind."""
        overlay, alone = image.copy(), np.full_like(image, BACKGROUND)
        heads = [(self._people[number], row) for number, row in self._seen.get(frame, [])]
        for person, row in sorted(heads, key=lambda head: float(head[0].rows.crops[head[1], 2])):
            rows = person.rows.index(slice(row, row + 1))
            self._draw_one(overlay, alone, rows.params, rows.crops, COLOURS[person.number % len(COLOURS)])
        return Drawn(overlay, alone)

    @torch.inference_mode()
    def _draw_one(
        self,
        overlay: NDArray[np.uint8],
        alone: NDArray[np.uint8],
        params: HeadParams,
        crops: torch.Tensor,
        colour: tuple[float, float, float],
    ) -> None:
        height, width = overlay.shape[:2]
        vertices = self._head(params).vertices
        cameras = picture_cameras(crops, height, width).to(torch.float32)
        pixels, _ = project(vertices, cameras)
        left, top = (max(0, math.floor(float(value))) for value in pixels[0, 0].amin(0))
        right, bottom = (min(most, math.ceil(float(value))) for value, most in zip(pixels[0, 0].amax(0), (width, height)))
        if left >= right or top >= bottom:
            return  # outside of the picture
        K = cameras.K.clone()
        K[..., 0, 2] -= left
        K[..., 1, 2] -= top
        window = Cameras(cameras.world_to_cam, K, bottom - top, right - left)
        fragments = rasterize_mesh(vertices, self._head.faces, window)
        facing = mesh_normals(vertices, self._head.faces, fragments)[0, 0, ..., 2:].abs()
        covered = fragments.mask[0, 0].numpy()
        shaded = (255 * facing * torch.tensor(colour)).numpy()[covered]
        for picture, share in ((overlay, OPACITY), (alone, 1.0)):
            part = picture[top:bottom, left:right]
            part[covered] = np.rint(part[covered] * (1 - share) + shaded * share).clip(0, 255).astype(np.uint8)


def side_by_side(image: NDArray[np.uint8], drawn: Drawn) -> NDArray[np.uint8]:
    """The picture, the heads over it, and the heads alone [H, 3 W, 3]."""
    return np.concatenate([image, drawn.overlay, drawn.alone], 1)


def write_timed_mp4(path: Path, frames: Iterator[tuple[float, NDArray[np.uint8]]], rate: float, crf: int = 20) -> int:
    """Encodes (time in seconds, picture [H, W, 3] uint8 RGB) as H.264, each frame at its time; gives how many there were. Odd
    sides lose a pixel.

    rate: frames a second on average, which players are told. Raises NotWritten, and ValueError when there is no frame.
    """
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    height, width = (side - side % 2 for side in first[1].shape[:2])
    clock, count = Fraction(1, 90_000), 0
    with whole_path(path) as temporary:
        try:
            with av.open(str(temporary), "w", "mp4") as container:
                stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.time_base = clock
                stream.options = {"crf": str(crf), "preset": "veryfast"}
                for time_s, picture in chain([first], frames):
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                    frame.pts, frame.time_base = round(time_s / clock), clock
                    container.mux(stream.encode(frame))
                    count += 1
                container.mux(stream.encode())
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise  # a full disk: the writer says it in words
            raise NotWritten(error.errno or 0, f"the encoder fails ({error.strerror})", str(path)) from None
    return count
