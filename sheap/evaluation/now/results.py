"""Figures and files of a NoW evaluation: statistics over all vertices of all images, curves, the official files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from sheap.evaluation.now.dataset import CHALLENGES, NowImage
from sheap.files import write_array, write_text

Floats = NDArray[np.float64]

CURVE_MM = np.round(np.arange(0.0, 8.0 + 1e-9, 0.02), 2)
"""Error levels of the cumulative curves; the official plot ends at 8 mm."""

CUMULATIVE_NAME = "cumulative.json"


@dataclass(frozen=True)
class DistanceStatistics:
    """Over every vertex of every image given (mm), population standard deviation as the official tool's."""

    median_mm: float
    mean_mm: float
    std_mm: float
    images: int
    vertices: int

    @classmethod
    def of(cls, distances: Sequence[Floats]) -> DistanceStatistics | None:
        """None when there are no distances at all."""
        together = np.concatenate(distances) if distances else np.zeros(0)
        if not len(together):
            return None
        spread = (float(np.median(together)), float(together.mean()), float(together.std()))
        return cls(*spread, images=len(distances), vertices=len(together))


@dataclass(frozen=True)
class ImageDistances:
    """One evaluated image: distances [P] (mm) and what the metric warned of."""

    image: NowImage
    distances: Floats
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class NowEvaluation:
    """A submission against a benchmark: evaluated images in the list's order; the others, each with why."""

    evaluated: tuple[ImageDistances, ...]
    missing: dict[str, str]
    malformed: dict[str, str]

    @property
    def num_missing_files(self) -> int:
        """Images that count as missing: no prediction, or one that cannot be used."""
        return len(self.missing) + len(self.malformed)

    def distances(self, challenge: str | None = None, subject: str | None = None) -> list[Floats]:
        """Distances [P] of the images of one challenge and subject (None: all)."""
        return [
            item.distances
            for item in self.evaluated
            if challenge in (None, item.image.challenge) and subject in (None, item.image.subject)
        ]

    def statistics(self) -> dict[str, DistanceStatistics]:
        """'overall' and every challenge that has images."""
        groups = {"overall": self.distances(), **{name: self.distances(name) for name in CHALLENGES}}
        found = {name: DistanceStatistics.of(distances) for name, distances in groups.items()}
        return {name: statistics for name, statistics in found.items() if statistics is not None}

    def subject_statistics(self) -> dict[str, DistanceStatistics]:
        """Every subject that has images."""
        subjects = dict.fromkeys(item.image.subject for item in self.evaluated)
        found = {name: DistanceStatistics.of(self.distances(subject=name)) for name in subjects}
        return {name: statistics for name, statistics in found.items() if statistics is not None}

    def cumulative_curves(self) -> dict[str, list[float]]:
        """Percent of vertices at or below every level of CURVE_MM, overall and per challenge."""
        return {
            name: cumulative_percent(self.distances(None if name == "overall" else name)).round(4).tolist()
            for name in self.statistics()
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the distances."""
        return {
            "challenges": {name: asdict(figures) for name, figures in self.statistics().items()},
            "subjects": {name: asdict(figures) for name, figures in self.subject_statistics().items()},
            "images": {
                str(item.image): {"median_mm": float(np.median(item.distances)), "warnings": list(item.warnings)}
                for item in self.evaluated
            },
            "missing": self.missing,
            "malformed": self.malformed,
            "num_missing_files": self.num_missing_files,
        }


def cumulative_percent(distances: Sequence[Floats], levels_mm: Floats = CURVE_MM) -> Floats:
    """Percentage of all distances at or below every level."""
    together = np.sort(np.concatenate(distances))
    return 100.0 * np.searchsorted(together, levels_mm, side="right") / len(together)


def write_official_files(
    folder: Path, evaluation: NowEvaluation, method: str = "RECON", challenge: str | None = None
) -> Path:
    """Writes METHOD_computed_distances.npy (METHOD_computed_distances_CHALLENGE.npy) and its .meanmedian.

    The first holds, as the official tool writes it, a pickled dict: 'computed_distances', a list of one array (mm) an
    image, and 'num_missing_files'. Unlike the official tool's, the distances keep the scan's order. The second holds
    the median and the mean, a line each.
    """
    statistics = DistanceStatistics.of(evaluation.distances())
    if statistics is None:
        raise ValueError("no image could be evaluated: there are no distances to write")
    path = folder / f"{method}_computed_distances{'' if challenge is None else '_' + challenge}.npy"
    content = {"computed_distances": evaluation.distances(), "num_missing_files": evaluation.num_missing_files}
    write_array(path, np.array(content, dtype=object), allow_pickle=True)
    text = f"{statistics.median_mm!r}\n{statistics.mean_mm!r}\n"
    write_text(path.with_name(path.name + ".meanmedian"), text)
    return path


def in_list_order(evaluated: Iterable[ImageDistances], images: Sequence[NowImage]) -> tuple[ImageDistances, ...]:
    """Sorts what workers delivered in any order."""
    place = {image: i for i, image in enumerate(images)}
    return tuple(sorted(evaluated, key=lambda item: place[item.image]))


class Cumulative(BaseModel):
    """`cumulative.json`: percent of all scan vertices within every error level (mm), by method and challenge."""

    error_mm: list[float]
    percent: dict[str, dict[str, list[float]]]


def read_cumulative(path: Path) -> Cumulative:
    """Raises ValueError naming the file and the first field that is wrong."""
    try:
        curves = Cumulative.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: missing") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None
    for method, lines in curves.percent.items():
        for challenge, percent in lines.items():
            if len(percent) != len(curves.error_mm):
                raise ValueError(f"{path}: percent.{method}.{challenge}: not one value for each of error_mm")
    return curves
