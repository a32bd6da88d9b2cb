from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import corpus, ingest, shards
from pipeline.commands.ingest_videos import IngestFolder, ingest_videos
from pipeline.commands.takedown import Places, take_down
from pipeline.corpus import CorpusParams, VideoFacts
from pipeline.files.corpus_file import Corpus
from pipeline.files.published_shards import write_published
from pipeline.ingest import IngestParams
from pipeline.run.settings import StageError
from pipeline.shards import ShardsParams
from sheap.data.manifest import Manifest, file_sha256, verify_shards
from tests.stage_settings import stage_params
from tests.video.made_videos import carphone_frames, noise_frames, write_video

PARAMS = stage_params(IngestParams, image_size=48, min_frames=3, max_frames=3, num_workers=1, filter={"min_head_px": 40})
SHARDS = stage_params(ShardsParams, target_mb=0.05, min_identities=2, val_fraction=0.3)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Anna is in two videos, Ben and Cara in one each; the file names tell who."""
    folder = tmp_path_factory.mktemp("project")
    talking = carphone_frames(60)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("videos").mkdir()
        rows = ["video,identity"]
        for number, name in enumerate(("anna one", "anna two", "ben alone", "cara alone")):
            write_video(Path(f"videos/{name}.mp4"), [*talking[12 * number :][:7], *noise_frames(2, 144, 176)])
            rows.append(f"{name}.mp4,person {name.split()[0]}")
        Path("videos/who.csv").write_text("\n".join(rows) + "\n")
        shutil.copy("videos/anna one.mp4", "videos/zz anna one again.mp4")
        corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0, identities="who.csv"))
        ingest.run(PARAMS)
        shards.run(SHARDS)
        for number, path in enumerate([*Path("data/shards").rglob("*.tar"), Path("data/ingest/ingest.json")]):
            entry = Path(f".dvc/cache/files/md5/{number:02d}/{number:030x}")
            entry.parent.mkdir(parents=True)
            shutil.copy(path, entry)
        Path("videos").rename("elsewhere")
    return folder


@pytest.fixture
def copy(project, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(Path(shutil.copytree(project, tmp_path / "project")))
    return Path.cwd()


def everything() -> bytes:
    places = (Path("data"), Path(".sheap"), Path(".dvc"), Path("published"))
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


def test_a_person_leaves_no_trace_and_the_others_stay(copy):
    before = Manifest.read(Path("data/shards"))
    assert write_published(Path("data/shards"), Path("published")) > 0
    assert everything().count(b"anna") > 10
    hashes = [v.sha256 for v in Corpus.read().videos if "anna" in v.name]
    proof = take_down(Places.of_project(), identities=["person anna"])
    assert [item["sha256"] for item in proof["removed"]] == hashes and proof["removed_clips"] >= 4
    assert proof["removed_finished_work"] == 2 and proof["removed_cache_files"] > 0
    assert proof["still_found_in"] == [] and proof["shards_verify"] == [] and proof["searched_files"] > 10
    left = everything()
    assert b"anna" not in left and not any(sha256.encode() in left for sha256 in hashes)
    assert b"person ben" in left and b"cara-alone" in left
    after = Manifest.read(Path("data/shards"))
    assert verify_shards(Path("data/shards")) == [] and after.data_hash == proof["data_hash"] != before.data_hash
    people = {name for info in after.splits.values() for name in info.identities}
    assert people == {"person ben", "person cara"}
    assert write_published(Path("data/shards"), Path("published")) == 0, "what later packing keeps was told as well"
    document = json.loads(Path("data/ingest/ingest.json").read_text())
    assert document["summary"]["videos"] == 2 and document["summary"]["clips"] == len(list(Path("data/ingest/clips").iterdir()))


def test_the_shards_equal_those_of_a_corpus_without_the_video(copy):
    """Where no clip shares a shard with a removed one, the shards stay as they were, byte for byte."""
    untouched = {path: path.read_bytes() for path in Path("data/shards").rglob("*.tar") if b"ben-alone" not in path.read_bytes()}
    take_down(Places.of_project(), videos=["ben alone.mp4"])
    assert untouched and all(path.read_bytes() == content for path, content in untouched.items())
    ingested = Path("data/ingest/clips")
    clips = {path.name: path.read_bytes() for path in ingested.iterdir()}
    Path("elsewhere").rename("videos")
    listed = [v.sha256 for v in Corpus.read().videos]
    gone = next(path for path in Path("videos").glob("ben*"))
    excluded = [file_sha256(gone)]
    corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0, excluded=excluded))
    assert {v.sha256 for v in Corpus.read().videos} == set(listed)
    assert Corpus.read().skipped_counts == {"duplicate": 1, "excluded": 1, "not_a_video_name": 1}
    ingest.run(PARAMS)
    assert {path.name for path in ingested.iterdir()} == set(clips)


def test_a_trace_elsewhere_is_reported(copy):
    Path("data/report").mkdir()
    Path("data/report/report.html").write_text("<p>cara alone.mp4</p>")
    proof = take_down(Places.of_project(), videos=["cara alone.mp4"])
    assert proof["still_found_in"] == ["data/report/report.html"] == [f"{proof['made_from_it'][0]}/report.html"]


def test_what_is_unknown_is_named_and_nothing_happens(copy):
    before = everything()
    with pytest.raises(StageError, match=r"corpus\.json: nobody\.mp4"):
        take_down(Places.of_project(), videos=["nobody.mp4", "ben alone.mp4"])
    with pytest.raises(StageError, match="nothing was named"):
        take_down(Places.of_project())
    assert everything() == before


def test_the_command_clears_a_folder_of_sheap_ingest_and_keeps_the_video_out(project, tmp_path):
    out, videos = tmp_path / "out", project / "elsewhere"
    ingest_videos([videos], out, PARAMS, SHARDS, VideoFacts())
    command = [sys.executable, "-m", "pipeline.commands.cli", "takedown", "--folder", str(out), "--video", "ben alone.mp4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    proof = json.loads(done.stdout)
    assert proof["still_found_in"] == [] and proof["removed_clips"] > 0
    assert "ben" not in (out / "contact_sheet.html").read_text()
    assert list(IngestFolder(out).excluded_hashes()) == [proof["removed"][0]["sha256"]]
    again = ingest_videos([videos], out, PARAMS, SHARDS, VideoFacts())
    assert again["skipped_files"]["excluded"] == 1 and again["ingest"]["videos"] == 3
