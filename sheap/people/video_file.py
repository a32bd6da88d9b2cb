"""Writes frames as an ordinary mp4 (H.264), the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from sheap.files import whole_path


def write_mp4(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, crf: int) -> int:
    """Encodes frames [H, W, 3] uint8 RGB (even height and width) and returns how many there were.

    crf: x264's quality, 18 fine to 30 coarse. One thread: x264's output depends on how work is split. No macroblock tree: x264
    decides by memory that it has not written there, so bytes would follow what the process did before.
    Raises ValueError when there is no frame.
    """
    count = 0
    with whole_path(path) as temporary, av.open(str(temporary), "w", "mp4", options={"fflags": "+bitexact"}) as container:
        stream = None
        for frame in frames:
            count += 1
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps))
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.thread_count = 1
                stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if stream is None:
            raise ValueError(f"{path}: no frames to write")
        container.mux(stream.encode())
    return count
