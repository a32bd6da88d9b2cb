"""`data/evaluation/metrics.json` and `cumulative.json`: written by evaluate, read by register, report and the demo.

Light on purpose (no torch): the demo reads it too.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

OVERALL = "overall"
METRICS_NAME = "metrics.json"
CUMULATIVE_NAME = "cumulative.json"


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


class PredictionCounts(_Record):
    """How the benchmark's images were cropped, and which could not be predicted."""

    images: int
    predicted: int
    cropped_by_box: list[str]
    without_face: list[str]


class ExpressionFigures(_Record):
    """Faces with an expression: errors by method ("model", "identity_alone", "mean_head") and region."""

    folder: str
    num_images: int
    methods: dict[str, dict[str, ErrorSummary]]


class FootageFiles(_Record):
    """Figures of each file by name, and their means (sheap.evaluation.footage)."""

    mean: dict[str, float]
    files: dict[str, dict[str, float]]


class FootageFigures(_Record):
    """Real videos and pictures: steadiness and agreement with landmarks; no ground truth."""

    videos: FootageFiles
    pictures: FootageFiles
    unusable: dict[str, str]


class EmotionFigures(_Record):
    """What a small MLP reads from the predicted expression."""

    folder: str
    valence: dict[str, float]
    arousal: dict[str, float]
    emotion_accuracy: float
    pictures: int


class Metrics(_Record):
    """Errors by challenge ("overall", "multiview_neutral", ...), of the trained model and of the mean head."""

    benchmark: Benchmark
    model: dict[str, ErrorSummary]
    mean_head: dict[str, ErrorSummary]
    true_error: dict[str, dict[str, ErrorSummary]] | None = None
    """By method and challenge: distances of corresponding vertices, where the true head is known (rendered people)."""
    counts: PredictionCounts | None = None
    expressions: ExpressionFigures | None = None
    footage: FootageFigures | None = None
    emotions: EmotionFigures | None = None
    """None where the settings left them out."""

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
    for name, errors in (("model", metrics.model), ("mean_head", metrics.mean_head)):
        if OVERALL not in errors:
            raise ValueError(f"{where}: {name}.{OVERALL}: missing")
        if set(errors) != set(metrics.model):
            raise ValueError(f"{where}: {name}: not the challenges of 'model'")
    return metrics


class Cumulative(_Record):
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
