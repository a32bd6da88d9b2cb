from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import corpus, ingest, shards
from pipeline.corpus import CorpusParams
from pipeline.ingest import IngestParams
from pipeline.run.settings import StageError
from pipeline.shards import ShardsParams
from sheap.data.codecs import encode_jpeg
from sheap.data.manifest import verify_shards
from sheap.data.reader import ShardReader
from sheap.results.names import printable
from tests.stage_settings import stage_params
from tests.video.made_videos import (
    carphone_frames,
    crossing_people,
    noise_frames,
    turn_in_header,
    write_audio,
    write_video,
)

PARAMS = stage_params(IngestParams, image_size=48, min_frames=3, max_frames=6, num_workers=1, filter={"min_head_px": 40})


def make_hostile_corpus(folder: Path) -> None:
    """Good and bad files as people really have them."""
    folder.mkdir(parents=True)
    talking = carphone_frames(9, step=3)
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in talking]
    write_video(folder / "plain talk.mp4", talking)
    write_video(folder / "gesicht 顔\n.mp4", mirrored[:5])
    turned = [np.ascontiguousarray(np.rot90(image)) for image in talking[3:8]]
    turn_in_header(write_video(folder / "turned.mp4", turned), 1)
    write_video(folder / "ten bit.mkv", talking[4:9], codec="ffv1", pix_fmt="yuv420p10le")
    write_video(folder / "uneven.mp4", talking[2:8], times=[0, 1, 2, 9, 10, 30])
    write_video(folder / "huge.mp4", [cv2.resize(image, (3840, 2160)) for image in talking[:3]])
    write_video(folder / "two crossing.mp4", crossing_people(18, step=10))
    write_video(folder / "hard cuts.mp4", [*talking[:3], *mirrored[:3], *noise_frames(2, 144, 176), *talking[6:9]])
    write_video(folder / "black in between.mp4", [*talking[1:5], *[np.zeros_like(talking[0])] * 3])
    write_video(folder / "one frame.mp4", talking[:1])
    write_video(folder / "nobody.mp4", noise_frames(5))
    write_video(folder / "black.mp4", [np.zeros((64, 96, 3), np.uint8)] * 5)
    write_audio(folder / "sound only.mp4")
    whole = (folder / "plain talk.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    streamed = write_video(folder / "cut late.mp4", talking[::-1], options={"movflags": "faststart"})
    streamed.write_bytes(streamed.read_bytes()[: streamed.stat().st_size * 2 // 3])
    (folder / "wrong extension.avi").write_bytes(write_video(folder / "x.mp4", mirrored[4:9]).read_bytes())
    (folder / "x.mp4").unlink()
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "letter.mp4").write_text("Dear all,\n")
    (folder / "a picture.mp4").write_bytes(encode_jpeg(talking[0], 90))
    (folder / "twin.mp4").write_bytes(whole)
    (folder / "readme.txt").write_text("not a video")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")


KEPT = {
    "plain talk.mp4", "gesicht 顔\\n.mp4", "turned.mp4", "ten bit.mkv", "uneven.mp4", "huge.mp4", "two crossing.mp4",
    "hard cuts.mp4", "black in between.mp4", "cut late.mp4", "wrong extension.avi",
}  # fmt: skip
DROPPED = {
    "one frame.mp4": "short_clip",
    "nobody.mp4": "no_face",
    "black.mp4": "no_face",
    "sound only.mp4": "no_video_stream",
    "cut.mp4": "unreadable",
    "zero.mp4": "empty_file",
    "letter.mp4": "unreadable",
    "a picture.mp4": "short_clip",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project whose hostile corpus went through corpus, ingest and shards."""
    project = tmp_path_factory.mktemp("project")
    make_hostile_corpus(project / "videos")
    before = Path.cwd()
    os.chdir(project)
    try:
        corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
        ingest.run(PARAMS)
        shards.run(stage_params(ShardsParams, min_identities=2, val_fraction=0.2))
    finally:
        os.chdir(before)
    return project


def copy_of(project: Path, to: Path, monkeypatch) -> Path:
    """The same videos in a fresh project, entered."""
    shutil.copytree(project / "videos", to / "videos", symlinks=True)
    monkeypatch.chdir(to)
    corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
    return to


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_file_ends_as_kept_or_under_a_named_reason(finished):
    document = json.loads((finished / "data/ingest/ingest.json").read_text())
    status = {v["video"]: (v["status"], v["reason"]) for v in document["videos"]}
    assert {name for name, (state, _) in status.items() if state == "kept"} == KEPT
    assert {name: reason for name, (state, reason) in status.items() if state == "dropped"} == DROPPED
    summary = document["summary"]
    assert summary["videos"] == len(KEPT) + len(DROPPED) and summary["videos_kept"] == len(KEPT)
    assert sum(summary["dropped_videos"].values()) == len(DROPPED)
    clips = sorted(p.stem for p in (finished / "data/ingest/clips").iterdir())
    assert clips == sorted(clip for v in document["videos"] for clip in v["clips"])
    assert summary["clips"] == len(clips) and summary["frames_kept"] > 20
    listed = json.loads((finished / "data/corpus/corpus.json").read_text())
    assert {i["name"]: i["reason"] for i in listed["skipped"]} == {
        "twin.mp4": "duplicate",
        "readme.txt": "not_a_video_name",
        "gone.mp4": "unreadable",
    }
    everything = {printable(p.relative_to(finished / "videos")) for p in (finished / "videos").iterdir()}
    assert everything == set(status) | {item["name"] for item in listed["skipped"]}
    assert {v["video"] for v in document["videos"] if v["damage"]} == {"cut late.mp4"}


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read every file")
    (tmp_path / "videos").mkdir()
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "videos/open.mp4", carphone_frames(4))
    write_video(tmp_path / "videos/closed.mp4", carphone_frames(4, start=9)).chmod(0)
    corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
    listed = json.loads(Path("data/corpus/corpus.json").read_text())
    assert {i["name"]: i["reason"] for i in listed["skipped"]} == {"closed.mp4": "unreadable"}


def test_the_shards_verify_and_keep_people_apart(finished):
    folder = finished / "data/shards"
    assert verify_shards(folder) == []
    train, val = ShardReader(folder / "train"), ShardReader(folder / "val")
    people = [{reader.record(n).identity for n in range(len(reader))} for reader in (train, val)]
    assert people[0] and people[1] and not people[0] & people[1]
    assert len(people[0] | people[1]) == len(KEPT)
    records = [reader.record(n) for reader in (train, val) for n in range(len(reader))]
    crossing = {record.person for record in records if record.video == "two crossing.mp4"}
    assert len(crossing) >= 2 and all(name.startswith("video-") for name in crossing)
    assert {record.person for record in records if record.video == "plain talk.mp4"} == {None}
    clip = train.clip(0)
    assert clip.images.shape[1:] == (48, 48, 3) and clip.record.mask_backend in ("selfie", "grabcut")


def test_two_workers_in_a_fresh_project_give_the_same_bytes(finished, tmp_path, monkeypatch):
    project = copy_of(finished, tmp_path, monkeypatch)
    ingest.run(PARAMS.model_copy(update={"num_workers": 2}))
    shards.run(stage_params(ShardsParams, min_identities=2, val_fraction=0.2))
    for name in ("data/corpus", "data/ingest", "data/shards"):
        assert tree(project / name) == tree(finished / name), name


def test_finished_videos_are_reused_and_only_new_ones_done(finished, tmp_path, monkeypatch):
    project = copy_of(finished, tmp_path, monkeypatch)
    shutil.copytree(finished / ".sheap", project / ".sheap", dirs_exist_ok=True)
    work = sorted((project / ".sheap/ingest").glob("*/*"))
    stamps = {path: path.stat().st_mtime_ns for path in work}
    write_video(project / "videos/new.mp4", carphone_frames(5, start=60))
    corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
    ingest.run(PARAMS)
    now = sorted((project / ".sheap/ingest").glob("*/*"))
    assert len(now) == len(work) + 1
    assert {path: path.stat().st_mtime_ns for path in work} == stamps
    clips = {p.name for p in (project / "data/ingest/clips").iterdir()}
    assert {p.name for p in (finished / "data/ingest/clips").iterdir()} < clips
    assert any(name.startswith("new-") for name in clips)


def test_other_settings_reuse_nothing(finished, tmp_path, monkeypatch):
    copy_of(finished, tmp_path, monkeypatch)
    keys = {
        ingest._settings_key(params, "selfie", [])
        for params in (
            PARAMS,
            PARAMS.model_copy(update={"fps": 10}),
            PARAMS.model_copy(update={"image_size": 64}),
            PARAMS.model_copy(update={"jpeg_quality": 80}),
        )
    }
    assert len(keys) == 4
    assert ingest._settings_key(PARAMS, "selfie", []) == ingest._settings_key(
        PARAMS.model_copy(update={"num_workers": 7, "timeout_s": 5}), "selfie", []
    )


def test_a_video_that_changed_or_vanished_since_it_was_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_video(tmp_path / f"videos/{number}.mp4", carphone_frames(4, start=10 * number))
    corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
    (tmp_path / "videos/1.mp4").write_bytes((tmp_path / "videos/0.mp4").read_bytes())
    (tmp_path / "videos/2.mp4").unlink()
    ingest.run(PARAMS)
    document = json.loads((tmp_path / "data/ingest/ingest.json").read_text())
    assert [v["reason"] for v in document["videos"]] == [None, "changed", "unreadable"]


def test_missing_inputs_and_models_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="run the 'corpus' stage first"):
        ingest.run(PARAMS)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/a.mp4", noise_frames(2))
    corpus.run(stage_params(CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
    with pytest.raises(StageError, match=r"none\.task"):
        ingest.run(PARAMS.model_copy(update={"landmark_model": Path("none.task")}))
    ingest.run(PARAMS)
    with pytest.raises(StageError, match="no clips"):
        shards.run(stage_params(ShardsParams))
    assert not Path("data/shards").exists()
