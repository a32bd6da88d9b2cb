"""Picture files as the predictor takes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.picture_advice import picture_advice
from sheap.video.transparency import decode_opaque


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB [H,W,3], over grey where it is transparent.

    Raises ValueError naming the file and a remedy when it is no picture, OSError when it cannot be read.
    """
    encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    picture = decode_opaque(encoded)
    if picture is None:
        raise ValueError(f"{path}: {picture_advice(encoded[:64].tobytes())}")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
