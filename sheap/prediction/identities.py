"""Which tracks of a video are surely one person, by the shapes that were predicted of them; in doubt they stay apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.head import HeadModel
from sheap.prediction.one_shape import ShapeEvidence

MOST_APART_MM = 1.3
"""RMS distance of two neutral faces up to which they are one person's. Measured on eleven people's videos: their first and last
thirds are 0.5 to 3.7 mm apart, seven of them at most 1.2; of different people the nearest are 1.7 mm apart."""

MIN_LEAD = 1.5
"""How many times as far the next person must be."""

LEAST_SIGHTINGS = 8
"""A track of fewer says too little of a shape."""


@dataclass(frozen=True)
class TrackShape:
    """What is known of a track: the numbers of its first and last frame, how many sightings, and their evidence of the shape."""

    first: int
    last: int
    sightings: int
    evidence: ShapeEvidence

    def joined(self, other: TrackShape) -> TrackShape:
        """Both together."""
        return TrackShape(
            min(self.first, other.first),
            max(self.last, other.last),
            self.sightings + other.sightings,
            self.evidence.joined(other.evidence),
        )


def same_people(tracks: Mapping[int, TrackShape], apart_mm: Callable[[Tensor, Tensor], float]) -> list[tuple[int, ...]]:
    """The tracks of each person, people in order of appearance.

    apart_mm: how far the faces of two evidences' values [D] are apart. A track joins the person whose face is nearest where it
    is near (MOST_APART_MM), nobody else is nearly as near, and the two are never seen at the same time.
    """
    people: list[tuple[list[int], TrackShape]] = []
    for number, track in sorted(tracks.items(), key=lambda item: (item[1].first, item[0])):
        near = sorted(
            (apart_mm(track.evidence.values, known.evidence.values), place)
            for place, (_, known) in enumerate(people)
            if min(track.sightings, known.sightings) >= LEAST_SIGHTINGS
        )
        is_near = bool(near) and near[0][0] <= MOST_APART_MM
        if is_near and (len(near) == 1 or near[1][0] >= MIN_LEAD * near[0][0]):
            numbers, known = people[near[0][1]]
            if all(track.last < tracks[other].first or tracks[other].last < track.first for other in numbers):
                people[near[0][1]] = [*numbers, number], known.joined(track)
                continue
        people.append(([number], track))
    return [tuple(numbers) for numbers, _ in people]


def faces_apart_mm(head: HeadModel, one: Tensor, other: Tensor) -> float:
    """RMS distance of two neutral faces' vertices, mm, by their shapes [S]."""
    moved = head.neutral(one[None]) - head.neutral(other[None])
    mask = head.region_masks.get("face")
    if mask is not None:
        moved = moved[:, mask]
    return 1000 * float(torch.sqrt(moved.square().sum(-1).mean()))
