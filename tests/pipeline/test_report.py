"""The report: complete, self-contained, safe against odd names, and plain about what it could not show."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.shards
from pipeline.register import BUNDLE_DIR, RegisterParams
from pipeline.register import run as register
from pipeline.report import ReportParams, page_environment, run
from pipeline.reporting.charts import MODEL, Line, line_chart
from pipeline.reporting.history import history_charts, read_history
from pipeline.reporting.panels import PanelPainter, choose_pairs
from pipeline.reporting.part import Part
from pipeline.run.settings import StageError
from sheap.data.clip_file import write_clip_file
from sheap.data.reader import ShardReader
from sheap.data.schema import ClipRecord
from tests.pipeline.model_folders import write_corpus, write_json, write_metrics, write_model
from tests.stage_settings import stage_params

PAGE = Path("data/report/report.html")
EVIL = '<script>alert("x")</script>&amp;\'.mp4'
SIZE = 48


def add_clip(number: int, video: str, sha256: str, identity: str, split: str, num_frames: int = 3) -> None:
    rng = np.random.default_rng(number)
    record = ClipRecord(
        clip_id=f"clip-{number}",
        identity=identity,
        split=split,
        video=video,
        video_sha256=sha256,
        licence="CC0-1.0",
        origin="made here",
        image_size=SIZE,
        num_frames=num_frames,
        times_s=[0.04 * t for t in range(num_frames)],
        boxes_px=[(50.0, 50.0, 60.0)] * num_frames,
        sharpness=[1.0] * num_frames,
        presence=[1.0] * num_frames,
        pose_deg=[(5.0 * t, 0.0, 0.0) for t in range(num_frames)],
        mask_backend="grabcut",
    )
    images = [rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(num_frames)]
    masks = [np.full((SIZE, SIZE), 255, np.uint8)] * num_frames
    landmarks = rng.uniform(0, SIZE, (num_frames, 478, 3)).astype(np.float32)
    pipeline.shards.CLIPS_DIR.mkdir(parents=True, exist_ok=True)
    write_clip_file(pipeline.shards.CLIPS_DIR, record, images, masks, landmarks)


def write_ingest() -> None:
    dropped = {"video": EVIL, "identity": EVIL, "status": "dropped", "reason": "unreadable", "detail": EVIL}
    kept = {"video": "a.mp4", "identity": "anna", "status": "kept", "reason": None, "detail": None}
    counts = {"damage": None, "clips": ["clip-0"], "frames_kept": 3, "frames_sampled": 4}
    summary = {
        "image_size": SIZE, "mask_backend": "grabcut", "videos": 2, "videos_kept": 1, "shots": 1, "tracks": 1, "clips": 3,
        "identities": 2, "frames_sampled": 4, "frames_kept": 3, "dropped_frames": {"no_face": 1},
    }  # fmt: skip
    write_json(Path("data/ingest/ingest.json"), {"summary": summary, "videos": [dropped | counts, kept | counts]})


def write_cumulative() -> None:
    levels = [0.0, 1.0, 2.0]
    curve = {"overall": [0.0, 50.0, 100.0]}
    write_json(
        Path("data/evaluation/cumulative.json"), {"error_mm": levels, "percent": {"model": curve, "mean_head": curve}}
    )


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage before `report` has run."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("project")
        patch.chdir(root)
        write_model()
        run_stages_around_the_model()
    return root


def run_stages_around_the_model() -> None:
    """What all stages but `train` leave before the report, in the current folder, which has data/model."""
    Path("params.yaml").write_text("people: {notes: '</pre><script>'}\n")
    write_metrics()
    write_cumulative()
    videos = [{"name": "a.mp4", "path": "data/people/clips/a.mp4"}, {"name": EVIL, "origin": EVIL}]
    write_corpus(videos, [{"name": EVIL, "reason": "not_a_video_name", "detail": "suffix"}])
    add_clip(0, "a.mp4", f"{0:064x}", "anna", "train")
    add_clip(1, EVIL, f"{1:064x}", EVIL, "val")
    pipeline.shards.run(stage_params(pipeline.shards.ShardsParams))
    write_ingest()
    register(stage_params(RegisterParams))


@pytest.fixture
def project(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(finished_run, tmp_path / "project"))
    monkeypatch.chdir(root)
    return root


class PageReader(HTMLParser):
    """Collects tags, the targets of their references, and the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "data", "action", "srcset")
        self.references += [value or "" for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page() -> PageReader:
    reader = PageReader()
    reader.feed(PAGE.read_text(encoding="utf-8"))
    return reader


SMALL = stage_params(ReportParams, panel_rows=2, panel_size=64)


def test_the_page_is_complete_and_loads_nothing(project: Path) -> None:
    run(SMALL)
    page = read_page()
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert all(reference.startswith(("data:image/jpeg;base64,", "#")) for reference in page.references)
    assert "@import" not in PAGE.read_text() and "url(http" not in PAGE.read_text()
    # two rows of five pictures, two clips on the contact sheet
    assert page.tags.count("img") == 2 * 5 + 2
    assert page.tags.count("svg") >= 2, "cumulative curve and training curves"
    for words in ("1.200", "1.500", "20.0 % lower", "held out", "seen in training", "no face", "unreadable"):
        assert words in page.text, words
    assert "Not available" not in page.text


def write_further() -> None:
    """What an evaluate stage with everything switched on adds to metrics.json."""
    path = Path("data/evaluation/metrics.json")
    summary = {"mean_mm": 1.0, "std_mm": 1.0, "images": 2, "vertices": 10}
    medians = {"model": 0.711, "identity_alone": 0.822, "mean_head": 0.933}
    methods = {
        name: {region: {"median_mm": value, **summary} for region in ("overall", "mouth")}
        for name, value in medians.items()
    }
    video = {"frames": 60, "reprojection": 0.0777, "landmark_jitter": 0.01, "detected_jitter": 0.012}
    videos = {EVIL: video | {"expression_jitter_mm": 0.123, "identity_spread_mm": 0.456}}
    footage = {
        "videos": {"mean": videos[EVIL], "files": videos},
        "pictures": {"mean": {"reprojection": 0.05}, "files": {"a.png": {"reprojection": 0.05}}},
        "unusable": {"b.mp4": "no face there"},
    }
    affect = {"pcc": 0.5, "ccc": 0.4321, "rmse": 0.3, "sagr": 0.8}
    emotions = {"folder": "faces", "valence": affect, "arousal": affect, "emotion_accuracy": 0.625, "pictures": 40}
    expressions = {"folder": "shouts", "num_images": 2, "methods": methods}
    sections = {"expressions": expressions, "footage": footage, "emotions": emotions}
    write_json(path, json.loads(path.read_text()) | sections)


def test_further_measures_have_their_tables(project: Path) -> None:
    run(stage_params(ReportParams, panel_rows=0))
    assert "Faces with an expression" not in read_page().text
    write_further()
    run(stage_params(ReportParams, panel_rows=0))
    text = " ".join(read_page().text.split())
    for words in ("0.711", "0.822", "0.933", "7.77 %", "1.20 %", "0.46 mm", "62.5 %", "0.432", "b.mp4: no face there"):
        assert words in text, words
    assert EVIL in text and "<script" not in PAGE.read_text(encoding="utf-8")


def test_names_cannot_become_markup(project: Path) -> None:
    run(SMALL)
    content, page = PAGE.read_text(encoding="utf-8"), read_page()
    assert "<script" not in content
    assert page.text.count(EVIL) >= 5, "corpus, ingest, origin, caption, contact sheet: shown as they are"


def test_what_is_missing_says_why_in_its_place(project: Path) -> None:
    Path("data/evaluation/cumulative.json").unlink()
    Path("data/model/history.jsonl").write_text('{"kind": "training"}\n')
    run(stage_params(ReportParams, panel_rows=0, contact_sheet=0))
    text = " ".join(read_page().text.split())
    assert "Not available: data/evaluation/cumulative.json: missing" in text
    assert "Not available: data/model/history.jsonl line 1: not a record of training" in text
    assert text.count("Not available: report.panel_rows is 0") == 2
    assert "Not available: no clips, or none asked for" in text


def test_a_corpus_of_one_kind_says_that_the_other_is_not_there(project: Path) -> None:
    write_corpus([{"name": "a.mp4"}, {"name": EVIL}])
    run(SMALL)
    assert "Not available: the corpus has no clip of this kind" in read_page().text


def test_a_model_that_misses_the_mean_head_is_said_to(project: Path) -> None:
    write_metrics(median=1.6)
    run(stage_params(ReportParams, panel_rows=0))
    text = read_page().text
    assert "The model does not beat the mean head" in text and "beats the mean head" not in text
    assert "Adapt" not in text


def test_what_adapting_did_stands_below_the_verdict(project: Path) -> None:
    write_metrics()
    metrics = Path("data/evaluation/metrics.json")
    adaptation = {
        "start": "shipped", "steps": 60, "clips": 11, "people": 11, "replayed_people": 80, "own_held_out": 2,
        "judgement": {"kept_start": True, "best_step": 20, "validations": 4, "ratios": {"landmarks": 1.0}},
    }  # fmt: skip
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"adaptation": adaptation}))
    run(stage_params(ReportParams, panel_rows=0))
    assert "Adapting did not help: 11 clips of 11 people (beside 80 rendered people, replayed)" in read_page().text


@pytest.mark.parametrize(
    ("path", "stage"),
    [("data/corpus/corpus.json", "corpus"), ("data/ingest/ingest.json", "ingest"), ("data/shards", "shards"),
     ("data/model/train.json", "train"), (str(BUNDLE_DIR / "provenance.json"), "register")],
)  # fmt: skip
def test_a_missing_stage_is_named_and_nothing_is_written(project: Path, path: str, stage: str) -> None:
    Path(path).rename("taken away")
    with pytest.raises(StageError, match=f"run the '{stage}' stage first"):
        run(SMALL)
    assert not PAGE.parent.exists()


def test_pairs_come_from_held_out_clips_first_and_from_far_apart_frames(project: Path) -> None:
    readers = [ShardReader(Path("data/shards") / split) for split in ("val", "train")]
    pairs = choose_pairs(readers, {f"{0:064x}", f"{1:064x}"}, 5)
    assert [pair.reader.folder.name for pair in pairs] == ["val", "train"]
    assert (pairs[0].source_frame, pairs[0].target_frame) == (0, 2)
    assert choose_pairs(readers, {f"{0:064x}"}, 5)[0].reader.folder.name == "train"
    assert choose_pairs(readers, set(), 5) == []


def test_panels_show_a_head_where_the_camera_sees_it(project: Path) -> None:
    readers = [ShardReader(Path("data/shards/train"))]
    [row] = PanelPainter(Path("data/model"), 96).paint(choose_pairs(readers, {f"{0:064x}"}, 1))
    _source, target, render, overlay, rest = row.pictures
    assert all(picture.shape == (96, 96, 3) and picture.dtype == np.uint8 for picture in row.pictures)
    paper = rest[0, 0].astype(int)
    for picture in (render, rest):
        differs = np.abs(picture.astype(int) - paper).max(axis=-1) > 12
        assert 0.2 < differs.mean() < 0.8, "a head fills part of the picture"
        assert differs[40:56, 40:56].mean() > 0.9, "and its middle"
    assert (overlay[2] == target[2]).all(), "no mesh in the top rows"
    assert np.abs(overlay[48].astype(int) - target[48]).max() > 12


def test_charts_take_their_colours_from_the_page() -> None:
    svg = line_chart("curves", [Line("a $ & <b>", [0, 1], [0, 100], MODEL, marker=0.5)], "x", "y", 100)
    assert svg.startswith("<svg") and "var(--model)" in svg and "#0102" not in svg
    assert "a $ &amp; &lt;b&gt;" in svg
    assert ' width="' not in svg.split(">", 1)[0]


def test_history_charts_show_every_figure_and_survive_gaps(tmp_path: Path) -> None:
    records = [
        {"kind": "training", "step": 1, "phase": "landmarks", "loss": 2.0, "total_steps": 4},
        {"kind": "training", "step": 2, "phase": "rendered", "loss": float("nan"), "ssim": 0.5},
        {"kind": "validation", "step": 2, "loss": 1.0},
        {"kind": "training", "step": 4, "phase": "rendered", "loss": 0.0, "ssim": 0.25},
    ]
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    charts = history_charts(read_history(path))
    assert [name in chart for name, chart in zip(("loss", "ssim"), charts, strict=True)] == [True, True]
    assert "mathdefault" not in "".join(charts)


def test_part_reports_problems_and_emptiness() -> None:
    def fail() -> list[int]:
        raise ValueError("a\nreason")

    assert Part.of("x", fail, "empty") == Part(None, "a reason")
    assert Part.of("x", list, "empty") == Part(None, "empty")
    assert Part.of("x", lambda: [1], "empty") == Part([1])


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (75.3, "1 min 15 s"), (7260, "2 h 1 min")])
def test_durations_read_well(seconds: float, words: str) -> None:
    assert page_environment().filters["duration"](seconds) == words
