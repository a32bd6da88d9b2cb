from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.commands import cli
from pipeline.commands.ingest_videos import ingest_videos
from pipeline.commands.takedown import Places, take_down
from pipeline.corpus import VideoFacts
from pipeline.files.corpus_file import Corpus
from pipeline.ingest import IngestParams
from pipeline.run.settings import StageError
from pipeline.shards import ShardsParams
from sheap.data.manifest import Manifest, verify_shards
from tests.stage_settings import stage_params
from tests.video.made_videos import carphone_frames, noise_frames, write_video

PARAMS = stage_params(IngestParams, image_size=48, min_frames=3, max_frames=6, num_workers=1, filter={"min_head_px": 40})
ROOT = Path(__file__).parents[3]
FACTS = VideoFacts(licence="CC0-1.0", origin="made by the test")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    talking = carphone_frames(40)
    for number in range(3):
        write_video(folder / f"talk {number}.mp4", talking[12 * number :][:5])
    write_video(folder / "nobody.mp4", noise_frames(4))
    (folder / "notes.txt").write_text("no video")
    return folder


def test_videos_become_shards_and_more_are_appended(videos, tmp_path):
    out = tmp_path / "out"
    first = ingest_videos([videos / "talk 0.mp4", videos / "nobody.mp4"], out, PARAMS, stage_params(ShardsParams), FACTS)
    assert first["ingest"]["videos_kept"] == 1 and first["ingest"]["dropped_videos"] == {"no_face": 1}
    assert json.loads((out / "summary.json").read_text()) == first
    shards = {path.name: path.read_bytes() for path in out.glob("shards/train/*.tar")}
    work = {path: path.stat().st_mtime_ns for path in out.glob(".work/videos/*/*")}
    second = ingest_videos([videos], out, PARAMS, stage_params(ShardsParams), FACTS)
    assert second["ingest"]["videos_kept"] == 3 and second["skipped_files"] == {"duplicate": 2, "not_a_video_name": 1}
    assert {name: (out / "shards/train" / name).read_bytes() for name in shards} == shards
    assert len(list(out.glob("shards/train/*.tar"))) == 2 and verify_shards(out / "shards") == []
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in work.items())
    page = (out / "contact_sheet.html").read_text()
    assert page.count("<figure>") >= 3 + 2 and "nobody.mp4" in page and "no face: 4 frames" in page
    repacked = ingest_videos([], out, PARAMS, stage_params(ShardsParams), FACTS, repack=True)
    assert len(list(out.glob("shards/train/*.tar"))) == 1 and repacked["data_hash"] != second["data_hash"]
    fresh = ingest_videos([videos], tmp_path / "fresh", PARAMS, stage_params(ShardsParams), FACTS)
    assert fresh["shards"] == repacked["shards"]


def test_two_videos_of_one_name_are_told_apart(videos, tmp_path, monkeypatch):
    """Names derive from what tells the files apart, and a take-down of a name that may be either does nothing."""
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        shutil.copy(videos / f"talk {number}.mp4", tmp_path / name / "talk.mp4")
    out = tmp_path / "out"
    monkeypatch.setattr("pipeline.commands.ingest_videos.ingest_corpus", lambda *_: {})
    for pack in ("write_shards", "append_shards"):
        monkeypatch.setattr(f"pipeline.commands.ingest_videos.{pack}", lambda *_: Manifest(image_size=48, splits={}))
    monkeypatch.setattr("pipeline.commands.ingest_videos.write_contact_sheet", lambda *_: None)

    def names(*places: Path) -> list[str]:
        ingest_videos(places, out, PARAMS, stage_params(ShardsParams), FACTS)
        return [video.name for video in Corpus.read(out / "corpus").videos]

    assert names(tmp_path / "a", tmp_path / "b/talk.mp4") == ["a/talk.mp4", "b/talk.mp4"]
    shutil.copy(videos / "talk 2.mp4", tmp_path / "talk.mp4")
    assert names(tmp_path / "talk.mp4") == ["a/talk.mp4", "b/talk.mp4", "talk.mp4"]
    shutil.copy(videos / "nobody.mp4", tmp_path / "b/deep.mp4")
    (tmp_path / "c").mkdir()
    shutil.copy(videos / "nobody.mp4", tmp_path / "c/talk.mp4")
    assert names(tmp_path / "c/talk.mp4")[3:] == ["c/talk.mp4"], "what is listed keeps its name"
    listed = Corpus.read(out / "corpus").videos
    with pytest.raises(StageError, match="may be any of 4 videos, name one by its hash") as raised:
        take_down(Places.of_folder(out), videos=["talk.mp4"])
    assert all(video.sha256 in str(raised.value) and video.path in str(raised.value) for video in listed)
    with pytest.raises(StageError, match=r"corpus\.json: deep\.mp4"):
        take_down(Places.of_folder(out), videos=["deep.mp4"])
    assert Corpus.read(out / "corpus").videos == listed
    proof = take_down(Places.of_folder(out), hashes=[listed[0].sha256])
    assert [video.name for video in Corpus.read(out / "corpus").videos] == ["b/talk.mp4", "talk.mp4", "c/talk.mp4"]
    assert proof["still_found_in"] == [], "the others' names are no traces of it"


def test_a_mistyped_path_is_told_before_anything_is_made(videos, tmp_path):
    with pytest.raises(StageError, match=r"talk 7\.mp4: not there; did you mean .*talk [012]\.mp4"):
        ingest_videos([videos / "talk 0.mp4", videos / "talk 7.mp4"], tmp_path / "out", PARAMS, stage_params(ShardsParams), FACTS)
    with pytest.raises(StageError, match="no videos match this pattern"):
        ingest_videos([videos / "*.webm"], tmp_path / "out", PARAMS, stage_params(ShardsParams), FACTS)
    assert not (tmp_path / "out").exists()


def test_nothing_to_ingest_is_one_line(videos, tmp_path):
    with pytest.raises(StageError, match=r"no video among what was named.*not_a_video_name"):
        ingest_videos([videos / "notes.txt"], tmp_path / "out", PARAMS, stage_params(ShardsParams), FACTS)


def test_the_commands_answer_in_json(videos, tmp_path):
    out = tmp_path / "out"

    def sheap(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "pipeline.commands.cli", *arguments], capture_output=True, text=True, cwd=ROOT
        )

    talk = tmp_path / "talk.mp4"
    write_video(talk, carphone_frames(10))
    made = sheap("ingest", str(talk), "--out", str(out), "--image-size", "48", "--workers", "1")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["ingest"]["frames_kept"] == 10 and "ingest: 100%" in made.stderr
    shown = sheap("shards", "show", str(out / "shards"), "--out", str(tmp_path / "page.html"))
    assert json.loads(shown.stdout)["clips_shown"] == 1 and (tmp_path / "page.html").stat().st_size > 1000
    assert sheap("shards", "verify", str(out / "shards")).returncode == 0
    failed = sheap("ingest", str(tmp_path / "nothing.mp4"), "--out", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists() and failed.returncode == 2
    assert f"sheap: error: {tmp_path}/nothing.mp4: not there" in failed.stderr


def test_the_settings_are_the_stages_own(videos, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("pipeline.commands.ingest_videos.ingest_videos", lambda *args, **kwargs: seen.update(args=args) or {})
    common = ["ingest", str(videos), "--out", str(tmp_path / "out"), "--params", str(ROOT / "params.yaml")]
    assert CliRunner().invoke(cli.app, common).exit_code == 0
    assert seen["args"][2:4] == (stage_params(IngestParams), stage_params(ShardsParams))
    assert CliRunner().invoke(cli.app, [*common, "--fps", "10", "--workers", "0"]).exit_code == 0
    assert seen["args"][2] == stage_params(IngestParams, fps=10, num_workers="auto")
