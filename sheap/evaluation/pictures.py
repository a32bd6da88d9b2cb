"""Picture files: one function reads them for every command and measure, one writes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.avif_orientation import upright_avif
from sheap.evaluation.picture_header import check_size
from sheap.reading.regular_file import read_bytes
from sheap.video.picture_advice import picture_advice
from sheap.video.transparency import decode_opaque

PICTURES_A_PASS = 16
"""How many go through a network at once where no setting says it."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB [H,W,3], over grey where it is transparent.

    Raises ValueError naming the file and a remedy when it is no picture, or one too large to decode, OSError when it cannot be
    read.
    """
    content = read_bytes(path)
    try:
        check_size(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        picture = decode_opaque(np.frombuffer(content, np.uint8)) if content else None
    except cv2.error as error:
        raise ValueError(f"{path}: not a picture that OpenCV can read ({' '.join(str(error.err).split())})") from None
    if picture is None:
        raise ValueError(f"{path}: {picture_advice(content[:64])}")
    return cv2.cvtColor(upright_avif(content, picture), cv2.COLOR_BGR2RGB)
