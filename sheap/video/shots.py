"""Where one shot ends and the next begins: PySceneDetect's content detector, one frame at a time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import ContentDetector, FrameTimecode

_THUMBNAIL = (80, 60)


class ShotDetector:
    """Feed frames in order; `is_cut` tells whether a frame starts a new shot.

    threshold: mean change of hue, saturation and lightness (0..255) that counts as a cut.
    """

    def __init__(self, threshold: float = 27.0) -> None:
        # lengths are filtered later, by clip; a cut must be known at once, before its frame reaches any track
        self._detector = ContentDetector(threshold=threshold, min_scene_len=0)
        self._count = 0
        self._shape: tuple[int, ...] | None = None

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Whether this uint8 RGB frame [H, W, 3] belongs to another shot than the one before."""
        # one size for all: a stream may change its picture size, which is a cut by itself. Sampling is enough, since
        # means over the thumbnail are compared; averaging the picture would cost more than the rest of the detector.
        thumbnail = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_LINEAR)
        bgr = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2BGR)
        was_resized = self._shape is not None and image.shape != self._shape
        self._shape = image.shape
        cuts = self._detector.process_frame(FrameTimecode(self._count, fps=25.0), bgr)
        self._count += 1
        return was_resized or (bool(cuts) and self._count > 1)
