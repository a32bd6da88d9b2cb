"""Stage `report`: one self-contained HTML page about the run; writes data/report/report.html.

The page loads nothing from anywhere: pictures and charts are inside. What could not be shown says why in its place.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from pydantic import Field

from pipeline.files.corpus_file import CORPUS_DIR, CORPUS_NAME, Corpus
from pipeline.files.trained_model import trained_file, trained_head_model
from pipeline.metrics import METRICS_NAME, OVERALL, read_metrics
from pipeline.register import (
    BUNDLE_DIR,
    EVALUATION_DIR,
    MODEL_DIR,
    PROVENANCE_NAME,
    corpus_sources,
    read_json,
)
from pipeline.reporting.history import history_charts, read_history
from pipeline.reporting.measured import show_measures, style_of, widest_bar
from pipeline.reporting.pages import html_environment, jpeg_url
from pipeline.reporting.panels import COLUMNS, PanelPainter, PanelRow, choose_pairs
from pipeline.reporting.part import Part
from pipeline.run.settings import StageParams
from pipeline.run.stage import atomic_directory, require_input, stage_main
from sheap.data.manifest import Manifest
from sheap.data.reader import ShardReader
from sheap.evaluation.measures import MEASURES
from sheap.files import write_text

INGEST_FILE = Path("data/ingest/ingest.json")
SHARDS_DIR = Path("data/shards")
REPORT_DIR = Path("data/report")
REPORT_NAME = "report.html"

RENDERED_FOLDER = Path("data/people")
"""Videos below it were rendered by the people stage; all others are real footage."""

JPEG_QUALITY = 88

log = logging.getLogger("report")


class ReportParams(StageParams):
    """Params section `report`."""

    panel_rows: int = Field(ge=0, le=50)
    """Rows of pictures for real footage, and as many for rendered people."""
    panel_size: int = Field(ge=64, le=1024)
    """Side of each picture, px."""
    contact_sheet: int = Field(ge=0, le=2000)
    """Clips on the contact sheet."""


def run(params: ReportParams) -> None:
    """Reads what all other stages left, writes data/report/report.html."""
    require_input(CORPUS_DIR / CORPUS_NAME, "corpus")
    corpus = Corpus.read()
    ingest = read_json(require_input(INGEST_FILE, "ingest"))
    train = read_json(require_input(MODEL_DIR / "train.json", "train"))
    metrics = read_metrics(EVALUATION_DIR / METRICS_NAME)
    provenance = read_json(require_input(BUNDLE_DIR / PROVENANCE_NAME, "register"))
    splits = Manifest.read(require_input(SHARDS_DIR, "shards")).splits
    readers = [ShardReader(SHARDS_DIR / split, verify_hashes=False) for split in ("val", "train") if split in splits]
    rendered = {video.sha256 for video in corpus.videos if Path(video.path).is_relative_to(RENDERED_FOLDER)}
    real = {video.sha256 for video in corpus.videos} - rendered
    page = page_environment().get_template("report.html.j2").render(
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        metrics=metrics,
        overall=metrics.model[OVERALL],
        mean_head=metrics.mean_head[OVERALL],
        measured=show_measures(MEASURES, read_json(EVALUATION_DIR / METRICS_NAME), EVALUATION_DIR),
        columns=COLUMNS,
        panels=_panels(params, readers, {"Real footage": real, "Rendered people": rendered}),
        history=Part.of("training curves", _history, "nothing was logged"),
        train=train,
        corpus=corpus,
        sources=corpus_sources(corpus),
        ingest=ingest["summary"],
        video_reasons=_examples(ingest["videos"]),
        videos=ingest["videos"],
        contact_sheet=Part.of(
            "contact sheet", lambda: _contact_sheet(readers, params.contact_sheet), "no clips, or none asked for"
        ),
        shard_notes=readers[0].manifest.notes,
        provenance=provenance,
        provenance_json=json.dumps(provenance["params"], indent=2, ensure_ascii=False),
    )
    with atomic_directory(REPORT_DIR) as folder:
        write_text(folder / REPORT_NAME, page)
    log.info("%s, %.1f MB", REPORT_DIR / REPORT_NAME, len(page) / 1e6)


def page_environment() -> Environment:
    """The report's filters on the project's Jinja."""
    environment = html_environment()
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u202f")
    environment.filters["duration"] = _duration
    environment.filters["style"] = style_of
    environment.filters["widest"] = widest_bar
    environment.filters["jpeg"] = partial(jpeg_url, quality=JPEG_QUALITY)
    return environment


def _history() -> list[Markup]:
    return [Markup(svg) for svg in history_charts(read_history(MODEL_DIR / "history.jsonl"))]


def _panels(
    params: ReportParams, readers: list[ShardReader], kinds: dict[str, set[str]]
) -> dict[str, Part[list[PanelRow]]]:
    """Rows of pictures by kind of footage. `kinds`: name -> SHA-256 of its videos."""
    if params.panel_rows == 0:
        return {name: Part(None, "report.panel_rows is 0") for name in kinds}
    painter = PanelPainter(
        MODEL_DIR, params.panel_size, trained_head_model(MODEL_DIR), trained_file(MODEL_DIR, "dinov2")
    )
    return {
        name: Part.of(
            name.lower(),
            lambda videos=videos: painter.paint(choose_pairs(readers, videos, params.panel_rows)),
            "the corpus has no clip of this kind",
        )
        for name, videos in kinds.items()
    }


def _contact_sheet(readers: list[ShardReader], count: int) -> list[dict[str, Any]]:
    """The middle frame of up to `count` clips, evenly spread over all of them, with what its caption says."""
    clips = [(reader, number) for reader in readers for number in range(len(reader))]
    step = max(1.0, len(clips) / count) if count else 0
    chosen = [clips[int(k * step)] for k in range(min(count, len(clips)))]
    return [
        {
            "picture": reader.image(number, reader.record(number).num_frames // 2),
            "record": reader.record(number),
            "split": reader.folder.name,
        }
        for reader, number in chosen
    ]


def _examples(videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Dropped videos by reason: [{"reason", "count", "example", "detail"}], most frequent first."""
    dropped = [video for video in videos if video["status"] != "kept"]
    first = {video["reason"]: video for video in reversed(dropped)}
    return [
        {"reason": reason, "count": count, "example": first[reason]["video"], "detail": first[reason]["detail"]}
        for reason, count in Counter(video["reason"] for video in dropped).most_common()
    ]


def _duration(seconds: float) -> str:
    """`75.3` -> `1 min 15 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value]
    return " ".join(parts[:2]) or "0 s"


if __name__ == "__main__":
    sys.exit(stage_main("report", ReportParams, run))
