"""What was dropped: how often for each reason, and a few pictures to see whether rightly so."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_EXAMPLES = 2
EXAMPLE_SIDE = 128
"""Longer side of a kept picture, px."""


class DropLog:
    """Counts by reason, and the first MAX_EXAMPLES pictures of each, shrunk."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.examples: dict[str, list[NDArray[np.uint8]]] = {}

    def note(self, reason: str, image: NDArray[np.uint8] | None = None, count: int = 1) -> None:
        """Something was dropped; `image` [H, W, 3] shows it."""
        self._counts[reason] += count
        kept = self.examples.setdefault(reason, [])
        if image is not None and len(kept) < MAX_EXAMPLES:
            shrink = min(1.0, EXAMPLE_SIDE / max(image.shape[:2]))
            height, width = (max(1, round(side * shrink)) for side in image.shape[:2])
            kept.append(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))

    @property
    def counts(self) -> dict[str, int]:
        """By reason, in the order of their names."""
        return dict(sorted(self._counts.items()))
