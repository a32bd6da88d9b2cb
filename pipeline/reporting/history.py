"""Training curves of the report: one small chart a logged quantity, training beside validation."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.reporting.charts import BASELINE, MODEL, Line, history_chart

NOT_CURVES = frozenset({"step", "total_steps", "skipped_steps"})
FIRST = ("loss", "landmarks", "photometric", "ssim", "normals", "depth")
"""Shown first, in this order; the others follow as they were logged."""
LAST = ("gradient_norm", "learning_rate", "images_per_second", "data_wait_share")
LINEAR = frozenset({"learning_rate", "images_per_second", "data_wait_share"})


def read_history(path: Path) -> list[dict[str, Any]]:
    """The records of history.jsonl. Raises ValueError naming file and line."""
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            records.append({"kind": str(record["kind"]), "step": int(record["step"]), **record})
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} line {number}: not a record of training") from None
    return records


def history_charts(records: list[dict[str, Any]]) -> list[str]:
    """SVG charts of everything that was logged as a number."""
    phases = [(record["step"], record["phase"]) for record in records if "phase" in record]
    turns = [step for (step, phase), (_, following) in pairwise(phases) if phase != following]
    names = [name for name in FIRST if any(name in record for record in records)]
    for record in records:
        names += [name for name, value in record.items() if name not in names and _is_curve(name, value)]
    names = [name for name in names if name not in LAST] + [name for name in LAST if name in names]
    charts = []
    for name in names:
        lines = []
        for kind, color, is_dashed in (("training", MODEL, False), ("validation", BASELINE, True)):
            points = [
                (record["step"], float(record[name]))
                for record in records
                if record["kind"] == kind and _is_curve(name, record.get(name)) and math.isfinite(record[name])
            ]
            if points:
                lines.append(Line(kind, [x for x, _ in points], [y for _, y in points], color, is_dashed))
        if lines:
            title = name.replace("_", " ")
            charts.append(history_chart(title, lines, turns[0] if turns else None, is_log=name not in LINEAR))
    return charts


def _is_curve(name: str, value: object) -> bool:
    return name not in NOT_CURVES and isinstance(value, int | float) and not isinstance(value, bool)
