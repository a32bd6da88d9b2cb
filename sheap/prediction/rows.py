"""What is predicted of one input: a row a face and frame, gathered by person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from sheap.evaluation.verdict import Verdict, judge
from sheap.head import HeadParams
from sheap.records import TensorRecord


@dataclass(frozen=True)
class FaceRows(TensorRecord):
    """F sightings of faces, in the order of time.

    params: in the level crop's camera (sheap.prediction.cameras). crops [F, 3] float64: centre x, centre y, side, px of the whole
    picture. boxes [F, 4] float32: of the landmarks, left, top, right, bottom, px. turned_deg [F]: how far the network's crop was
    turned. frames [F] int64: numbers as decoded, from 0; times_s [F] float64: from the first frame; tracks, shots [F]
    int64. presence, disagreement (NaN where the head model has no landmarks),
    yaw_deg [F]: as sheap.evaluation.verdict.Verdict has them, of the single frame as it was predicted.
    """

    params: HeadParams
    crops: Tensor
    boxes: Tensor
    turned_deg: Tensor
    frames: Tensor
    times_s: Tensor
    tracks: Tensor
    shots: Tensor
    presence: Tensor
    disagreement: Tensor
    yaw_deg: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    def verdicts(self) -> list[Verdict]:
        """Of every row."""
        figures = zip(self.presence.tolist(), self.disagreement.tolist(), self.yaw_deg.tolist(), strict=True)
        return [judge(presence, None if apart != apart else apart, yaw) for presence, apart, yaw in figures]


@dataclass(frozen=True)
class Person:
    """One person of an input: number (0: seen largest), rows with one shape, the numbers of the tracks they come from."""

    number: int
    rows: FaceRows
    tracks: tuple[int, ...]

    @property
    def is_sure(self) -> bool:
        """Whether more than half of the sightings are."""
        return sum(verdict.is_sure for verdict in self.rows.verdicts()) > len(self.rows) / 2

    @property
    def area(self) -> float:
        """Of the crops, summed over the sightings, square px."""
        return float((self.rows.crops[:, 2] ** 2).sum())


@dataclass(frozen=True)
class Prediction:
    """All that was predicted of a picture or a video of width x height px, upright.

    num_frames: of a video, those that were looked at; with_face: of these, those that show one. rate: frames a second, None for a
    picture. damage: where the file broke off, if it did.
    """

    kind: Literal["picture", "video"]
    people: tuple[Person, ...]
    width: int
    height: int
    num_frames: int = 1
    with_face: int = 1
    shots: int = 1
    rate: float | None = None
    damage: str | None = None

    @property
    def is_sure(self) -> bool:
        """Whether everybody is."""
        return all(person.is_sure for person in self.people)

    def figures(self) -> dict[str, Any]:
        """For a manifest: the verdict in a word, and what was seen."""
        reasons: Counter[str] = Counter()
        for person in self.people:
            if not person.is_sure:
                verdicts = [verdict for verdict in person.rows.verdicts() if not verdict.is_sure]
                what = f"person {person.number}: {len(verdicts)} of {len(person.rows)} sightings doubtful, first: "
                reasons[what + "; ".join(verdicts[0].reasons)] += 1
        seen = {"people": len(self.people), "sightings": sum(len(person.rows) for person in self.people)}
        if self.kind == "video":
            seen |= {"frames": self.num_frames, "frames_with_face": self.with_face, "shots": self.shots}
        told = {"verdict": "sure" if self.is_sure else "doubtful", "reasons": list(reasons), **seen}
        return told if self.damage is None else told | {"damage": self.damage}

    def __str__(self) -> str:
        figures = self.figures()
        people = f"{len(self.people)} face{'s' * (len(self.people) != 1)}"
        if self.kind == "video":
            people = f"{len(self.people)} {'person' if len(self.people) == 1 else 'people'}"
            people += f" in {self.with_face} of {self.num_frames} frames, {self.shots} shot{'s' * (self.shots != 1)}"
        reasons = f" ({'; '.join(figures['reasons'])})" if figures["reasons"] else ""
        return f"{figures['verdict']}, {people}{reasons}" + (f"; damaged {self.damage}" if self.damage else "")
