"""What a measure is: what it needs, its figures, and how they are shown.

Modules here load no torch: the stage's worker processes import them. What computes is imported inside `figures`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from sheap.evaluation.predictions import CropCounts, FaceFinderAndModels, Predictions, Predictor, Variant

MODEL, MEAN_HEAD = "model", "mean_head"
"""The methods of every run: the trained predictor, and the mean head."""

Figures = Mapping[str, Any]
"""metrics.json, or what joins it: plain JSON by key."""


class MissingInput(Exception):
    """Something a setting names is not there. made_by: the stage that makes it, where one does."""

    def __init__(self, problem: str, remedy: str, made_by: str | None = None) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem, self.remedy, self.made_by = problem, remedy, made_by


class MeasureSettings(BaseModel):
    """What a measure is told: fields of the params section `evaluate`, which joins those of all measures.

    A switch is named as its measure is; a field's `option` is its name on the command line, where that is another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Method:
    """What is measured, by the name of its column: a predictor's answers, or what `variant` makes of them."""

    name: str
    predictor: Predictor
    variant: Variant | None = None


class Inputs:
    """What measures share: the methods, the face finder, and all predictions made so far.

    folder: where a measure may leave files of its own (curves, every distance). methods: the first is the one that the
    run is about. batch_size: pictures a forward pass. num_workers: processes that measure, at least 1.
    """

    def __init__(
        self, methods: Sequence[Method], finder: FaceFinderAndModels, folder: Path, *, batch_size: int, num_workers: int
    ) -> None:
        if len({method.name for method in methods}) != len(methods):
            raise ValueError(f"methods: two have one name ({', '.join(method.name for method in methods)})")
        self.methods, self.finder, self.folder = tuple(methods), finder, folder
        self.batch_size, self.num_workers = batch_size, num_workers
        self._predicted: dict[Any, tuple[CropCounts, dict[str, Predictions]]] = {}

    @property
    def predictors(self) -> dict[str, Predictor]:
        """The methods that answer pictures by themselves, by name: those that video frames can be given to."""
        return {method.name: method.predictor for method in self.methods if method.variant is None}

    def predict(self, pictures: Any) -> tuple[CropCounts, dict[str, Predictions]]:
        """All methods' predictions of a benchmark (a PictureSet, hashable), made when first asked for.

        Raises ValueError when there is no face in any picture.
        """
        from sheap.evaluation.predictions import predict_pictures

        if pictures not in self._predicted:
            # Several methods of one predictor need its answers once.
            distinct = {str(id(method.predictor)): method.predictor for method in self.methods}
            counts, answers = predict_pictures(pictures, distinct, self.finder, batch_size=self.batch_size)
            if not counts.predicted:
                raise ValueError(
                    f"{pictures.root}: no face found in any of {len(pictures.images)} pictures, no boxes given"
                    f"{counts.first_unreadable()}"
                )
            found = {}
            for method in self.methods:
                answer = answers[str(id(method.predictor))]
                found[method.name] = answer if method.variant is None else method.variant(answer)
            self._predicted[pictures] = counts, found
        return self._predicted[pictures]


# --- how figures are shown --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """method: whose figures stand here, which gives the column its colour."""

    title: str
    method: str | None = None


@dataclass(frozen=True)
class Row:
    """cells: text, the first names the row. bars: lengths by method, drawn beside the row."""

    cells: tuple[str, ...]
    bars: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """text: what is shown, in a sentence or two; notes: what else is to be said below."""

    title: str
    text: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def first_row(self) -> str:
        """What counts most, as one line for a log."""
        titles = (column.title.replace("\n", " ") for column in self.columns)
        return ", ".join(f"{title} {cell}" for row in self.rows[:1] for title, cell in zip(titles, row.cells, strict=True))


@dataclass(frozen=True)
class Line:
    """A line of a plot: points, and where a vertical line marks something of it (a median)."""

    method: str
    x: Sequence[float]
    y: Sequence[float]
    marker: float | None = None


@dataclass(frozen=True)
class Plot:
    """Lines over one pair of axes. y_limit: where the upper end is fixed."""

    title: str
    text: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    y_limit: float | None = None


Settings = TypeVar("Settings", bound=MeasureSettings)


class Measure(ABC, Generic[Settings]):
    """One measure. name: of its command, and usually its key in metrics.json; settings: what it has to be told."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for the command line's help."""
    settings: type[Settings]

    def is_wanted(self, settings: Settings) -> bool:
        """Whether the stage measures it with these settings."""
        return True

    def check(self, settings: Settings) -> None:
        """Tells before anything is measured what is not there. Raises MissingInput."""

    @abstractmethod
    def figures(self, settings: Settings, inputs: Inputs) -> dict[str, Any]:
        """What joins metrics.json, by key; {} where there is nothing to say. Raises OSError or ValueError naming a file."""

    @abstractmethod
    def tables(self, metrics: Figures) -> list[Table]:
        """Its tables of metrics.json; none where its figures are not in it."""

    def plots(self, metrics: Figures, folder: Path) -> list[Plot]:
        """Its plots. folder: where `figures` left files. Raises OSError or ValueError naming one."""
        return []


def with_others(figures: Mapping[str, Figures]) -> dict[str, Any]:
    """Figures by method, the first's as they are (as readers of a single model expect) and the others' below `others`."""
    first, *others = figures
    return {**figures[first], **({"others": {name: dict(figures[name]) for name in others}} if others else {})}


def by_method(section: Figures) -> dict[str, Figures]:
    """The inverse of with_others; the first is called MODEL."""
    own = {key: value for key, value in section.items() if key != "others"}
    return {MODEL: own, **section.get("others", {})}


def unreadable_notes(unreadable: Mapping[str, str]) -> list[str]:
    """What a table says below of pictures that could not be read."""
    return [f"Left out, cannot be read: {image}: {reason}" for image, reason in unreadable.items()]


def words(name: str) -> str:
    """A key as it is shown."""
    return name.replace("_", " ")


def error_table(
    title: str,
    text: str,
    errors: Mapping[str, Mapping[str, Figures]],
    row_name: str,
    fields: Sequence[str] = ("median_mm",),
    notes: Sequence[str] = (),
) -> Table:
    """Statistics (mm) by method and row (challenge, region), methods side by side, medians as bars."""
    first = next(iter(errors.values()))
    columns = [Column(row_name), Column("images")]
    columns += [Column(f"{words(method)}\n{field.removesuffix('_mm')}", method) for method in errors for field in fields]
    rows = []
    for name in sorted(first, key=lambda name: name != "overall"):
        cells = [name, str(first[name]["images"])]
        cells += [f"{errors[method][name][field]:.3f}" for method in errors for field in fields]
        rows.append(Row(tuple(cells), {method: errors[method][name]["median_mm"] for method in errors}))
    return Table(title, text, tuple(columns), tuple(rows), tuple(notes))
