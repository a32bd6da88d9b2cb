"""Copies are found as comparing each video with each would find them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sheap.video import copies
from sheap.video.copies import find_copies
from sheap.video.fingerprint import FIRST_SPACING_S, distance


def all_with_all(fingerprints: list[list[str]], durations_s: list[float], max_distance: float) -> dict[int, int]:
    """The definition, written out."""
    found: dict[int, int] = {}
    for number in range(len(fingerprints)):
        for other in range(number):
            short, long = sorted((durations_s[number], durations_s[other]))
            is_as_long = long - short <= max(0.05 * long, FIRST_SPACING_S)
            if other not in found and is_as_long and distance(fingerprints[number], fingerprints[other]) <= max_distance:
                found[number] = other
                break
    return found


def made_corpus(rng: np.random.Generator, num_videos: int, bits_apart: int) -> tuple[list[list[str]], list[float]]:
    """Strangers, and copies that differ in up to twice `bits_apart` bits a hash; some begin later, some are longer."""
    fingerprints: list[list[str]] = []
    durations: list[float] = []
    for number in range(num_videos):
        if number == 0 or rng.random() < 0.4:
            hashes = rng.integers(0, 256, (int(rng.integers(2, 9)), 32), dtype=np.uint8)
            first, length = int(rng.integers(0, 2)), float(rng.choice([2.0, 2.4, 30.0, 31.0, 33.0]))
        else:
            source = int(rng.integers(number))
            hashes = np.array([list(bytes.fromhex(item.partition(":")[2])) for item in fingerprints[source]], np.uint8)
            flips = np.zeros(hashes.shape[0] * 256, np.uint8)
            flips[rng.permutation(len(flips))[: int(rng.integers(0, 2 * bits_apart * len(hashes) + 1))]] = 1
            hashes = hashes ^ np.packbits(flips).reshape(hashes.shape)
            first, length = int(rng.integers(0, 2)), durations[source] + float(rng.choice([0.0, 0.4, 1.6]))
        fingerprints.append([f"{first + place}:{content.tobytes().hex()}" for place, content in enumerate(hashes)])
        durations.append(length)
    return fingerprints, durations


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([0, 3, 12, 40]))
@example(seed=5170, num_videos=11, bits=3)  # lengths whose difference is one spacing but for a rounding
def test_nothing_is_missed_and_nothing_made_up(seed: int, num_videos: int, bits: int) -> None:
    fingerprints, durations = made_corpus(np.random.default_rng(seed), num_videos, bits)
    assert find_copies(fingerprints, durations, bits / 256) == all_with_all(fingerprints, durations, bits / 256)


def test_of_the_default_distance_every_place_of_the_differing_bits_is_found() -> None:
    """12 differing bits wherever they are: one of 13 parts has none of them."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (3, 32), dtype=np.uint8)
    for start in range(0, 244, 5):
        flips = np.zeros((3, 256), np.uint8)
        flips[:, start : start + 12] = 1
        changed = hashes ^ np.packbits(flips, axis=1)
        texts = [[f"{time}:{content.tobytes().hex()}" for time, content in enumerate(one)] for one in (hashes, changed)]
        assert find_copies(texts, [2.0, 2.0], 0.05) == {1: 0}


def test_strangers_are_hardly_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(copies, "distance", lambda one, other: compared.append(1) or distance(one, other))
    rng = np.random.default_rng(0)
    texts = [[f"{time}:{rng.bytes(32).hex()}" for time in range(4)] for _ in range(2000)]
    texts.append(list(texts[7]))
    assert find_copies(texts, [2.0] * 2001, 0.05) == {2000: 7}
    assert len(compared) == 1, "of two million pairs"
    assert find_copies([], [], 0.05) == {} and find_copies([[], []], [1.0, 1.0], 0.05) == {}
