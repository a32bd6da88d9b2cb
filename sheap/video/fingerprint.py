"""Tells whether two videos show the same thing, however they were scaled and compressed.

A frame's hash says of each of 16 x 16 places whether it is darker than its neighbour on the right (difference hash); it
survives another size, bitrate and small changes of brightness. Videos are alike when they last equally long and their
hashes at the same times differ in few bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 16
MAX_HASHES = 32
FIRST_SPACING_S = 0.5
MIN_COMMON = 3
"""Two videos of a second may begin with the same picture and be different; so little is never called a copy."""


def frame_hash(image: NDArray[np.uint8]) -> bytes:
    """256 bits of a uint8 RGB picture [H, W, 3]."""
    # sampled before it is averaged: enough for a hash, and averaging a whole picture takes milliseconds
    small = cv2.resize(image, (8 * (HASH_SIDE + 1), 8 * HASH_SIDE), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


class VideoFingerprint:
    """Hashes at even times, never more than MAX_HASHES: a long video's lie farther apart."""

    def __init__(self) -> None:
        self._spacing_s = FIRST_SPACING_S
        self._hashes: list[tuple[int, bytes]] = []
        """Time in units of FIRST_SPACING_S, and hash."""
        self._next_s = 0.0

    def add(self, image: NDArray[np.uint8], time_s: float) -> None:
        """The next frame; most are passed over."""
        if time_s < self._next_s:
            return
        self._hashes.append((round(time_s / FIRST_SPACING_S), frame_hash(image)))
        if len(self._hashes) > MAX_HASHES:
            self._spacing_s *= 2
            self._hashes = self._hashes[::2]
        self._next_s = (int(time_s / self._spacing_s) + 1) * self._spacing_s

    def to_text(self) -> list[str]:
        """'TIME:HASH' for each hash."""
        return [f"{time}:{content.hex()}" for time, content in self._hashes]


def distance(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of bits that differ at the times that both fingerprints know, 0 to 1; 1 when those are too few to tell."""
    hashes = [dict(item.split(":") for item in fingerprint) for fingerprint in (one, other)]
    common = hashes[0].keys() & hashes[1].keys()
    if len(common) < MIN_COMMON:
        return 1.0
    bits = sum((int(hashes[0][time], 16) ^ int(hashes[1][time], 16)).bit_count() for time in common)
    return bits / (len(common) * HASH_SIDE**2)
