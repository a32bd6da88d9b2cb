"""Which tracks of a video are surely the same person: a shot that is taken up again, a face that was lost for a moment.

There is no face recognition here, and none is pretended: two tracks are joined only where the head looks all but the
same in one frame of each, pixel by pixel, and nobody else in the video comes near. In doubt they stay apart: that costs
a few pairs and mixes nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

LOOK_SIDE = 32
MAX_DIFFERENCE = 10.0
"""Mean difference of the heads' colours, of 255, up to which they look the same. Measured on 11 real people: between
people at least 21; between frames of one track, a second or more apart, 1 to 41 and half of them under 9."""

MIN_LEAD = 1.5
"""How many times as different the next person must be."""

_RECENT_PEOPLE = 50
"""A track is compared with the people seen last; in an hour of street scenes nobody is looked for among thousands."""

_MIN_COMMON = 0.7
"""Overlap of the two heads' outlines."""


@dataclass(frozen=True)
class Look:
    """A head in one frame: colours uint8 [32, 32, 3] and which of them are the head."""

    colours: NDArray[np.uint8]
    is_head: NDArray[np.bool_]


def look_of(crop: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Look:
    """The look of a head crop [S, S, 3] with its mask [S, S]."""
    size = (LOOK_SIDE, LOOK_SIDE)
    return Look(
        cv2.resize(crop, size, interpolation=cv2.INTER_AREA),
        cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127,
    )


def difference(one: Look, other: Look) -> float:
    """Mean absolute difference of colours where both show the head, 0 to 255; infinite when the outlines differ."""
    both = one.is_head & other.is_head
    if both.sum() < _MIN_COMMON * (one.is_head | other.is_head).sum() or not both.any():
        return float("inf")
    return float(np.abs(one.colours[both].astype(np.int16) - other.colours[both]).mean())


@dataclass
class TrackLooks:
    """One track: when it was seen, and how it looked at its ends."""

    first_s: float
    last_s: float
    looks: list[Look] = field(default_factory=list)

    def extend(self, last_s: float, first: Look, last: Look) -> None:
        """Adds a clip that ends at `last_s`, by the looks of its first and last frame."""
        self.last_s = last_s
        self.looks = [(self.looks or [first])[0], last]


def group_tracks(tracks: dict[int, TrackLooks]) -> dict[int, int]:
    """Person number of every track, counted from 0 in order of appearance."""
    people: list[list[int]] = []
    person_of: dict[int, int] = {}
    for number, track in sorted(tracks.items(), key=lambda item: (item[1].first_s, item[0])):
        nearest = [
            (min(_nearest(track, tracks[other]) for other in (person[0], person[-1])), place)
            for place, person in enumerate(people)
            if place >= len(people) - _RECENT_PEOPLE
        ]
        nearest.sort()
        chosen = None
        if nearest and nearest[0][0] <= MAX_DIFFERENCE:
            leads = len(nearest) == 1 or nearest[1][0] >= MIN_LEAD * nearest[0][0]
            if leads and all(_never_together(track, tracks[other]) for other in people[nearest[0][1]]):
                chosen = nearest[0][1]
        if chosen is None:
            people.append([])
            chosen = len(people) - 1
        people[chosen].append(number)
        person_of[number] = chosen
    return person_of


def _nearest(one: TrackLooks, other: TrackLooks) -> float:
    return min((difference(a, b) for a in one.looks for b in other.looks), default=float("inf"))


def _never_together(one: TrackLooks, other: TrackLooks) -> bool:
    return one.last_s < other.first_s or other.last_s < one.first_s
