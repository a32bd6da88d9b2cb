"""Picture files as the predictor takes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

PICTURES_A_PASS = 16
"""How many go through a network at once where no setting says it."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB [H,W,3]. Raises ValueError naming the file when it is no picture, OSError when it cannot be read."""
    encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if picture is None:
        raise ValueError(f"{path}: not a picture that OpenCV can read")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
