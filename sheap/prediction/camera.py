"""A camera as an input: what it shows for some seconds becomes a video file, which is predicted like any other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.prediction.overlay import write_timed_mp4

_NAME = re.compile(r"camera:(\d{1,3})")


def camera_number(place: Path | str) -> int | None:
    """The number in `camera:0`; None for another input."""
    found = _NAME.fullmatch(str(place))
    return None if found is None else int(found[1])


def record_camera(
    number: int,
    path: Path,
    seconds: float,
    *,
    opened: Callable[[int], Any] = cv2.VideoCapture,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Records a camera into an .mp4, each frame at the time it came; gives the number of frames. Ctrl-C ends it early.

    One that is unplugged meanwhile ends it, too. opened: gives an OpenCV capture. Raises ValueError when there is no such camera
    or it gives no picture, NotWritten.
    """
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)  # OpenCV has lines of its own about devices that are not there
    camera = opened(number)
    try:
        if not camera.isOpened():
            raise ValueError(f"camera:{number}: no such camera, or no permission to use it (on Linux it is /dev/video{number})")
        frames = _frames(camera, seconds, clock)
        first = next(frames, None)
        if first is None:
            raise ValueError(f"camera:{number}: gives no picture; is another program using it?")
        return write_timed_mp4(path, chain([first], frames), camera.get(cv2.CAP_PROP_FPS) or 30.0)
    finally:
        camera.release()
        log.setLogLevel(level)


def _frames(camera: Any, seconds: float, clock: Callable[[], float]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    start, last = clock(), -1.0
    try:
        while clock() - start <= seconds:
            is_read, picture = camera.read()
            if not is_read:
                return
            last = max(clock() - start, last + 0.001)  # two frames at once would be one
            yield last, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    except KeyboardInterrupt:
        return
