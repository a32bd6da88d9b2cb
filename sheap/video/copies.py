"""Finds the videos of a corpus that show the same thing, without comparing each with each.

Two fingerprints are alike when the mean number of bits in which their hashes differ, over the times that both know, is small
(sheap.video.fingerprint.distance). Then at one of these times at most that many bits differ, say b; and if the bits of a hash are
dealt out to b + 1 parts, one part is the same in both. So at each time and for each part only videos with equal parts are
compared, which for videos that have nothing in common are few. Nothing is missed that comparing all would find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.video.fingerprint import FIRST_SPACING_S, HASH_SIDE, distance

NUM_BITS = HASH_SIDE**2
LEAST_PARTS = 8
"""A part has at most 32 bits, one machine word."""

_SAME_LENGTH = 0.05
"""Durations may differ by this share, or by one spacing of hashes."""


_ROUNDING_S = 1e-6
"""2.4 s and 2.8 s are one spacing apart in numbers, and a rounding more in floats."""


def find_copies(
    fingerprints: Sequence[Sequence[str]], durations_s: Sequence[float], max_distance: float
) -> dict[int, int]:
    """Which videos repeat an earlier one: number of the copy to number of the first of its kind.

    fingerprints: as VideoFingerprint.to_text gives them. max_distance: share of bits, below 0.5, where strangers are.
    """
    earlier: dict[int, set[int]] = {}
    for one, other in _candidates(fingerprints, np.asarray(durations_s, np.float64), max_distance):
        is_as_long = _are_as_long(*sorted((durations_s[one], durations_s[other])))
        if is_as_long and distance(fingerprints[one], fingerprints[other]) <= max_distance:
            earlier.setdefault(max(one, other), set()).add(min(one, other))
    copies: dict[int, int] = {}
    for number in sorted(earlier):
        first = next((other for other in sorted(earlier[number]) if other not in copies), None)
        if first is not None:
            copies[number] = first
    return copies


def _are_as_long(short_s: float, long_s: float) -> bool:
    return long_s - short_s <= max(_SAME_LENGTH * long_s, FIRST_SPACING_S)


@dataclass(frozen=True)
class _Moment:
    """What all videos that have a hash at one time show there: video [N] in the order of duration, bits uint8 [N, 32]."""

    video: NDArray[np.int64]
    bits: NDArray[np.uint8]


def _candidates(
    fingerprints: Sequence[Sequence[str]], durations_s: NDArray[np.float64], max_distance: float
) -> Iterator[tuple[int, int]]:
    """Pairs of about the same length (give or take a rounding) that are near each other at some time, each pair once."""
    most_bits = int(max_distance * NUM_BITS + 1e-9)
    seen: set[tuple[int, int]] = set()
    for moment in _moments(fingerprints, durations_s):
        for one, other in _near_at(moment, durations_s[moment.video], most_bits):
            for pair in zip(moment.video[one].tolist(), moment.video[other].tolist(), strict=True):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _moments(fingerprints: Sequence[Sequence[str]], durations_s: NDArray[np.float64]) -> Iterator[_Moment]:
    """The hashes time after time."""
    by_time: dict[str, tuple[list[int], list[str]]] = {}
    for number in np.argsort(durations_s, kind="stable").tolist():
        for item in fingerprints[number]:
            time, _, content = item.partition(":")
            videos, contents = by_time.setdefault(time, ([], []))
            videos.append(number)
            contents.append(content)
    while by_time:
        _, (videos, contents) = by_time.popitem()
        bits = np.frombuffer(bytes.fromhex("".join(contents)), np.uint8).reshape(len(videos), NUM_BITS // 8)
        yield _Moment(np.array(videos, np.int64), bits)


def _near_at(
    moment: _Moment, durations_s: NDArray[np.float64], most_bits: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places of pairs that differ in at most `most_bits` bits; a pair comes once for each part that it shares."""
    words = np.ascontiguousarray(moment.bits).view(np.uint64)
    longest = durations_s + np.maximum(durations_s * _SAME_LENGTH / (1 - _SAME_LENGTH), FIRST_SPACING_S) + _ROUNDING_S
    num_parts = max(most_bits + 1, LEAST_PARTS)
    for part in range(num_parts):
        keys = _part_of(moment.bits, part, num_parts)
        order = np.argsort(keys, kind="stable")  # equal keys stay in the order of duration
        keys = keys[order]
        place, step = np.arange(len(order)), 1
        while len(place := place[place + step < len(order)]):
            is_same = keys[place] == keys[place + step]
            is_same &= durations_s[order[place + step]] <= longest[order[place]]
            place = place[is_same]  # who has no equal at this step has none further on
            one, other = order[place], order[place + step]
            near = np.bitwise_count(words[one] ^ words[other]).sum(axis=1) <= most_bits
            yield one[near], other[near]
            step += 1


def _part_of(bits: NDArray[np.uint8], part: int, num_parts: int) -> NDArray[np.uint32]:
    """One part of every hash [N]: bits dealt out like cards, so that each part sees the whole picture."""
    where = np.arange(part, NUM_BITS, num_parts)
    chosen = (bits[:, where // 8] >> (7 - where % 8).astype(np.uint8)) & 1
    packed = np.packbits(chosen, axis=1)
    padded = np.zeros((len(bits), 4), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint32)[:, 0]
