"""`sheap evaluate-registered VERSION`: a registered model's figures on today's benchmark.

Promotion compares figures of one benchmark. When the benchmark changes, those that a champion was registered with are of
another; measured again, they lie under .sheap/registered/VERSION/, named by the benchmark, and `sheap promote` finds them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.metrics import METRICS_NAME, read_metrics
from pipeline.run.champions import FETCHED_DIR, fetch_registered
from sheap.files import write_bytes

EVALUATED_DIR = FETCHED_DIR / "evaluated"


def evaluate_registered(version: str) -> Path:
    """Measures a version as the stage `evaluate` would; gives the file of figures. Raises StageError as that does."""
    from pipeline.evaluate import EvaluateParams, evaluate_model
    from pipeline.run.settings import load_params

    params = load_params("evaluate", EvaluateParams)
    measured = EVALUATED_DIR / version / "newest"
    evaluate_model(params, fetch_registered(version), measured)
    benchmark = read_metrics(measured / METRICS_NAME).benchmark.sha256
    kept = figures_file(version, benchmark)
    write_bytes(kept, (measured / METRICS_NAME).read_bytes())
    return kept


def figures_file(version: str, benchmark: str) -> Path:
    """Where a version's figures on a benchmark (its SHA-256) are, if they were measured again."""
    return EVALUATED_DIR / version / f"{benchmark[:16]}.json"


def measured_again(version: str, benchmark: str) -> dict[str, Any] | None:
    """The figures, or None."""
    path = figures_file(version, benchmark)
    return json.loads(path.read_bytes()) if path.exists() else None
