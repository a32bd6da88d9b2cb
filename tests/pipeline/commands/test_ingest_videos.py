from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands.ingest_videos import ingest_videos
from pipeline.corpus import VideoFacts
from pipeline.ingest import IngestParams
from pipeline.run.settings import StageError
from pipeline.shards import ShardsParams
from sheap.data.manifest import verify_shards
from tests.video.made_videos import carphone_frames, noise_frames, write_video

PARAMS = IngestParams(image_size=48, min_frames=3, max_frames=6, num_workers=1, filter={"min_head_px": 40})
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
    first = ingest_videos([videos / "talk 0.mp4", videos / "nobody.mp4"], out, PARAMS, ShardsParams(), FACTS)
    assert first["ingest"]["videos_kept"] == 1 and first["ingest"]["dropped_videos"] == {"no_face": 1}
    assert json.loads((out / "summary.json").read_text()) == first
    shards = {path.name: path.read_bytes() for path in out.glob("shards/train/*.tar")}
    work = {path: path.stat().st_mtime_ns for path in out.glob(".work/videos/*/*")}
    second = ingest_videos([videos], out, PARAMS, ShardsParams(), FACTS)
    assert second["ingest"]["videos_kept"] == 3 and second["skipped_files"] == {"duplicate": 2, "not_a_video_name": 1}
    assert {name: (out / "shards/train" / name).read_bytes() for name in shards} == shards
    assert len(list(out.glob("shards/train/*.tar"))) == 2 and verify_shards(out / "shards") == []
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in work.items())
    page = (out / "contact_sheet.html").read_text()
    assert page.count("<figure>") >= 3 + 2 and "nobody.mp4" in page and "no face: 4 frames" in page
    repacked = ingest_videos([], out, PARAMS, ShardsParams(), FACTS, repack=True)
    assert len(list(out.glob("shards/train/*.tar"))) == 1 and repacked["data_hash"] != second["data_hash"]
    fresh = ingest_videos([videos], tmp_path / "fresh", PARAMS, ShardsParams(), FACTS)
    assert fresh["shards"] == repacked["shards"]


def test_nothing_to_ingest_is_one_line(videos, tmp_path):
    with pytest.raises(StageError, match=r"no video among what was named.*not_a_video_name"):
        ingest_videos([videos / "notes.txt"], tmp_path / "out", PARAMS, ShardsParams(), FACTS)


def test_the_commands_answer_in_json(videos, tmp_path):
    out = tmp_path / "out"

    def sheap(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "pipeline.commands.cli", *arguments], capture_output=True, text=True)

    talk = tmp_path / "talk.mp4"
    write_video(talk, carphone_frames(10))
    made = sheap("ingest", str(talk), "--out", str(out), "--image-size", "48", "--workers", "1")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["ingest"]["frames_kept"] == 10 and "ingest: 100%" in made.stderr
    shown = sheap("shards", "show", str(out / "shards"), "--out", str(tmp_path / "page.html"))
    assert json.loads(shown.stdout)["clips_shown"] == 1 and (tmp_path / "page.html").stat().st_size > 1000
    assert sheap("shards", "verify", str(out / "shards")).returncode == 0
    failed = sheap("ingest", str(tmp_path / "nothing.mp4"), "--out", str(tmp_path / "none"))
    assert failed.returncode == 2 and failed.stderr.strip().splitlines()[-1].startswith("sheap: error: no video")
