"""Where one shot ends and the next begins: how much hue, saturation and lightness change from frame to frame.

The measure is that of PySceneDetect's content detector with its default weights, and the tests compare the two.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_THUMBNAIL = (80, 60)

CUT_THRESHOLD = 27.0


class ShotDetector:
    """Feed frames in order; `is_cut` tells whether a frame starts a new shot.

    threshold: mean change of hue (0..179), saturation and lightness (0..255) that counts as a cut.
    """

    def __init__(self, threshold: float = CUT_THRESHOLD) -> None:
        self._threshold = threshold
        self._last: NDArray[np.uint8] | None = None
        self._shape: tuple[int, ...] | None = None

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Whether this uint8 RGB frame [H, W, 3] belongs to another shot than the one before."""
        # one size for all: a stream may change its picture size, which is a cut by itself. Sampling is enough, since
        # means over the thumbnail are compared; averaging the picture would cost more than the rest of the detector.
        thumbnail = cv2.cvtColor(cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_LINEAR), cv2.COLOR_RGB2HSV)
        last, self._last = self._last, thumbnail
        was_resized = self._shape is not None and image.shape != self._shape
        self._shape = image.shape
        change = 0.0 if last is None else cv2.norm(thumbnail, last, cv2.NORM_L1) / thumbnail.size
        return was_resized or (last is not None and change >= self._threshold)
