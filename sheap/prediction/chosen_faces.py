"""Whom a user means: everybody, the one seen largest, the number of one, or who is in a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sheap.prediction.rows import Person
from sheap.video.face_choice import Sides, box_overlap, box_sides, is_met


@dataclass(frozen=True)
class FaceChoice:
    """number: of a person, by size (0: seen largest); box: left, top, width, height, px of the upright picture. Neither: all."""

    number: int | None = None
    box: tuple[float, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> FaceChoice:
        """`all`, `largest`, a number or four of them (x,y,w,h). Raises ValueError."""
        words = text.replace(",", " ").split()
        try:
            match words:
                case ["all"]:
                    return cls()
                case ["largest"]:
                    return cls(number=0)
                case [number] if int(number) >= 0:
                    return cls(number=int(number))
                case [_, _, _, _]:
                    return cls(box=tuple(float(word) for word in words))
        except ValueError:
            pass
        raise ValueError(f"--face: '{text}' is none of: all, largest, a number from 0, or x,y,width,height in px")

    def of(self, people: Sequence[Person], height: int, width: int) -> tuple[Person, ...]:
        """Those that are meant, of people numbered from 0. Raises ValueError when nobody is."""
        if self.number is not None:
            if self.number >= len(people):
                there = "only one is there: 0" if len(people) == 1 else f"there are 0 to {len(people) - 1}"
                raise ValueError(f"face: there is no face {self.number} ({there})")
            return (people[self.number],)
        if self.box is None:
            return tuple(people)
        sides = box_sides(self.box, "xywh", height, width)
        first = [(seen, person.number) for person in people if (seen := _first_met(person, sides)) is not None]
        if not first:
            shown = ",".join(f"{value:g}" for value in self.box)
            raise ValueError(f"face: the box {shown} (x,y,width,height, px) meets nobody of {len(people)}")
        return (people[min(first)[1]],)


EVERYBODY = FaceChoice()


def _first_met(person: Person, box: Sides) -> tuple[int, float] | None:
    """The frame in which a person's face is first in the box, and how badly it fits."""
    for frame, corners in zip(person.rows.frames.tolist(), person.rows.boxes.numpy(), strict=True):
        points = np.asarray(corners, np.float64).reshape(2, 2)
        if is_met(points, box):
            return frame, -box_overlap(points, box)
    return None
