"""The part of `data/evaluation/metrics.json` that other stages decide by: NoW's figures of model and mean head.

Everything else in it belongs to its measure (sheap.evaluation.measures). Light on purpose: the demo reads it too.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.files.adaptation import Adaptation

OVERALL = "overall"
METRICS_NAME = "metrics.json"


class _Record(BaseModel):
    # Further fields are welcome: an evaluation may measure more than these readers know.
    model_config = ConfigDict(frozen=True, extra="allow")


class ErrorSummary(_Record):
    """Scan-to-mesh distances (mm) of all cropped scan vertices of all images together, as the NoW protocol pools them.

    The fields are those of sheap.evaluation.now.results.DistanceStatistics.
    """

    median_mm: float
    mean_mm: float
    std_mm: float
    images: int
    vertices: int


class Benchmark(_Record):
    """What was measured on. `sha256` covers images, scans and landmarks: equal hashes, comparable figures."""

    folder: str
    sha256: str
    num_images: int


class Metrics(_Record):
    """Errors by challenge ("overall", "multiview_neutral", ...), of the trained model, the mean head and others."""

    benchmark: Benchmark
    model: dict[str, ErrorSummary]
    mean_head: dict[str, ErrorSummary]
    others: dict[str, dict[str, ErrorSummary]] = {}
    """Further methods on the same benchmark, by name."""
    adaptation: Adaptation | None = None
    """Where the model's training began from a predictor: what it did with it."""

    @property
    def challenges(self) -> list[str]:
        """Overall first, then the challenges as they were written."""
        return sorted(self.model, key=lambda name: name != OVERALL)


def read_metrics(path: Path) -> Metrics:
    """Raises ValueError naming the file and the first field that is wrong."""
    try:
        return parse_metrics(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: missing; run the 'evaluate' stage first (dvc repro evaluate)") from None


def parse_metrics(content: bytes, where: str) -> Metrics:
    """The metrics in a file's bytes; `where` names the file in a ValueError."""
    try:
        metrics = Metrics.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{where}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None
    for name, errors in {"model": metrics.model, "mean_head": metrics.mean_head, **metrics.others}.items():
        if OVERALL not in errors:
            raise ValueError(f"{where}: {name}.{OVERALL}: missing")
        if set(errors) != set(metrics.model):
            raise ValueError(f"{where}: {name}: not the challenges of 'model'")
    return metrics
