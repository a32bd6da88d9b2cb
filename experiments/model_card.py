"""The shipped predictor's card: `python -m experiments.model_card --out docs/results`.

Renders people that no training saw (the campaign's validation people, anew), three photos each, and measures the
predictor on them by who they are, how they are turned and lit, and what they wear: where it fails. Beside the figures
stand what it learnt from, its licence, what it is for and what it is not for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.held_out_people import EVERYBODY, PhotoFigures, measure_held_out
from experiments.pages import Page
from experiments.rendered_photos import IMAGE_SIZE, PHOTOS_OF, SEED
from sheap.predictor import SheapPredictor

FEWEST_PEOPLE = 5
"""Groups of fewer people are shown, but not called weak."""
WEAKEST = 5
_DRAWS = 200

ABOUT = Path(__file__).with_name("model_card_about.md")
"""What people wrote of it: what it learnt from, what it is for and what not."""


def figures_of(photos: Sequence[PhotoFigures]) -> dict[str, float]:
    """people, photos; identity_one, identity_fused, motion, surface: errors over the mean head's (a still face's for
    motion); identity_deviation: standard deviation of identity_one over other draws of people; points_px; mean_head_mm.
    NaN where there is nothing to measure."""
    of_person: dict[str, list[PhotoFigures]] = {}
    for photo in photos:
        of_person.setdefault(photo.person, []).append(photo)
    error = np.array([np.mean([photo.identity_mm for photo in some]) for some in of_person.values()])
    mean_head = np.array([some[0].mean_head_mm for some in of_person.values()])
    fused = np.array([some[0].fused_mm for some in of_person.values()])
    drawn = np.random.default_rng(0).integers(0, len(error), (_DRAWS, len(error)))
    return {
        "people": len(error),
        "photos": len(photos),
        "identity_one": float(error.sum() / mean_head.sum()),
        "identity_deviation": float((error[drawn].sum(1) / mean_head[drawn].sum(1)).std()),
        "identity_fused": float(fused.sum() / mean_head.sum()),
        "surface": _ratio(_values(photos, "surface_mm"), _values(photos, "mean_surface_mm")),
        "points_px": _mean(_values(photos, "points_px")),
        "motion": _ratio(_values(photos, "moved_mm"), _values(photos, "still_mm")),
        "mean_head_mm": float(mean_head.mean()),
    }


def by_group(photos: Sequence[PhotoFigures]) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by kind of grouping and group, everybody first; groups in the order of their names, larger intervals last."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind in photos[0].groups:
        names = sorted({photo.groups[kind] for photo in photos}, key=_natural)
        found[kind] = {name: figures_of([photo for photo in photos if photo.groups[kind] == name]) for name in names}
    return found


def weakest(groups: dict[str, dict[str, dict[str, float]]]) -> list[tuple[str, str, dict[str, float]]]:
    """The groups whose identity error is largest beside the mean head's, with enough people to say so."""
    rows = [(kind, name, row) for kind, some in groups.items() for name, row in some.items() if name != EVERYBODY]
    enough = [row for row in rows if row[2]["people"] >= FEWEST_PEOPLE]
    return sorted(enough, key=lambda row: -row[2]["identity_one"])[:WEAKEST]


def write_page(photos: Sequence[PhotoFigures], command: str, model: str, out: Path | None) -> None:
    groups = by_group(photos)
    page = Page("Model card: the shipped predictor", command)
    page.line(ABOUT.read_text(encoding="utf-8"))
    page.line("## Where it fails")
    page.line("")
    page.line(
        f"`{model}` on photos of {IMAGE_SIZE} px of rendered people that it never saw (seed {SEED}, role validation).\n"
        "Identity: mean distance of the neutral face's vertices from the truth after a similarity, over the mean head's\n"
        "(1: it knows nothing of the person), from one photo (and its standard deviation over other draws of people) and\n"
        "from all of a person's. Surface: the median of NoW's distance to a scan, over the mean head's, of each person's\n"
        "first photo. Points: error of the fine landmarks that are seen. Motion: error of the face's own movement, over a\n"
        "still face's. A person is in as many groups of a kind as their photos are."
    )
    page.table(
        ("", "people", "photos", "identity, one", "all", "surface", "points, px", "motion", "mean head, mm"),
        [
            _row(name if name == EVERYBODY else f"{kind}: {name}", row)
            for kind, some in groups.items()
            for name, row in some.items()
        ],
    )
    page.line(f"Weakest, of the groups with at least {FEWEST_PEOPLE} people:")
    page.line("")
    for kind, name, row in weakest(groups):
        page.line(
            f"- {kind}: {name} ({row['identity_one']:.3f} ± {row['identity_deviation']:.3f}, {row['people']} people)"
        )
    # JSON knows no NaN: what could not be measured is null.
    known = {
        kind: {name: {key: None if np.isnan(value) else value for key, value in row.items()} for name, row in some.items()}
        for kind, some in groups.items()
    }
    page.finish("model_card", {"model": model, "groups": known}, out)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.model_card", description=__doc__)
    parser.add_argument("--people", type=int, default=300, help="held-out people")
    parser.add_argument("--photos", type=int, default=PHOTOS_OF["validation"], help="of each")
    parser.add_argument("--model", type=Path, help="a model folder (default: the shipped predictor)")
    parser.add_argument("--no-scans", action="store_true", help="leave the surface distance out, half of the time")
    parser.add_argument("--out", type=Path, help="folder for model_card.md and .json")
    arguments = parser.parse_args(argv)
    if arguments.people < 1 or arguments.photos < 1:
        print("error: --people and --photos: expected at least 1", file=sys.stderr)
        return 1
    try:
        network = SheapPredictor.load(arguments.model).network
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    photos = list(measure_held_out(network, arguments.people, arguments.photos, scans=not arguments.no_scans))
    options = f" --people {arguments.people}" if arguments.people != parser.get_default("people") else ""
    model = "sheap/shipped_model" if arguments.model is None else str(arguments.model)
    write_page(photos, f"python -m experiments.model_card{options} --out docs/results", model, arguments.out)
    return 0


def _row(name: str, row: dict[str, float]) -> tuple[str, ...]:
    identity = f"{row['identity_one']:.3f} ± {row['identity_deviation']:.3f}"
    digits = {"identity_fused": 3, "surface": 3, "points_px": 2, "motion": 3, "mean_head_mm": 2}
    counts = (f"{row['people']:.0f}", f"{row['photos']:.0f}")
    return (name, *counts, identity, *(_shown(row[field], count) for field, count in digits.items()))


def _shown(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _values(photos: Sequence[PhotoFigures], field: str) -> NDArray[np.float64]:
    return np.array([getattr(photo, field) for photo in photos], np.float64)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    known = ~np.isnan(above)
    return float(above[known].sum() / below[known].sum()) if known.any() else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _natural(name: str) -> tuple[Any, ...]:
    first = name.split(" ", 1)[0]
    return (0, int(first), name) if first.isdigit() else (1, 0, name)


if __name__ == "__main__":
    sys.exit(main())
