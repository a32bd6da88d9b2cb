"""Picture files: one function reads them for every command and measure, one writes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.picture_header import check_size
from sheap.reading.regular_file import read_bytes


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB [H,W,3]. Raises ValueError naming the file when it is no picture, or one too large to decode, OSError when it
    cannot be read."""
    content = read_bytes(path)
    try:
        check_size(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise ValueError(f"{path}: not a picture that OpenCV can read ({' '.join(str(error.err).split())})") from None
    if picture is None:
        raise ValueError(f"{path}: not a picture that OpenCV can read")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """uint8 RGB [H,W,3] as the format that the name ends in. OpenCV is given no name: one that is not UTF-8 ends the process."""
    is_encoded, content = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not is_encoded:
        raise ValueError(f"{path}: cannot be encoded as {path.suffix}")
    path.write_bytes(content.tobytes())
