from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.files.published_shards import write_published
from pipeline.run.settings import StageError
from pipeline.shards import CLIPS_DIR, SHARDS_DIR, ShardsParams, append_shards, run
from sheap.data.clip_file import CLIP_SUFFIX, read_clip_members, write_clip_file
from sheap.data.manifest import Manifest, verify_shards
from sheap.data.reader import ShardReader
from sheap.data.split import plan_split
from sheap.data.tar_writer import write_tar
from tests.data.made_clips import SIZE, make_record
from tests.stage_settings import stage_params


def add_clip(clip_id: str, identity: str, split: str | None = None, num_frames: int = 3) -> None:
    record = make_record(clip_id, num_frames, identity, split)
    images = [np.full((SIZE, SIZE, 3), 10 * t, np.uint8) for t in range(num_frames)]
    masks = [image[..., 0] for image in images]
    CLIPS_DIR.mkdir(parents=True, exist_ok=True)
    write_clip_file(CLIPS_DIR, record, images, masks, np.zeros((num_frames, 478, 3), np.float32))


def edit_clip(clip_id: str, without: str = "", **changes: object) -> None:
    """Rewrites a clip file, less one member, with other facts in its record."""
    path = CLIPS_DIR / f"{clip_id}{CLIP_SUFFIX}"
    _, members = read_clip_members(path)
    edited = {"clip.json": json.dumps(json.loads(members[0][1]) | changes).encode()}
    write_tar(path, [(name, edited.get(name, content)) for name, content in members if name != without])


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def people_in(split: str) -> set[str]:
    reader = ShardReader(SHARDS_DIR / split)
    return {reader.record(n).identity for n in range(len(reader))}


def test_assigned_people_stay_and_others_are_drawn_whole():
    for number in range(10):
        for part in range(2):
            add_clip(f"free{number}-{part}", f"free{number}")
    add_clip("held-0", "held", "val")
    add_clip("taught-0", "taught", "train")
    run(stage_params(ShardsParams, val_fraction=0.2, target_mb=0.02))
    train, val = people_in("train"), people_in("val")
    assert "held" in val and "taught" in train
    assert len(val - {"held"}) == 2 and not train & val
    manifest = Manifest.read(SHARDS_DIR)
    assert len(manifest.splits["train"].shards) > 1
    assert sum(info.num_clips for info in manifest.splits.values()) == 22
    assert manifest.splits["val"].identities == sorted(val)


def test_too_few_people_all_train_and_the_manifest_says_so():
    for number in range(3):
        add_clip(f"clip{number}", f"person{number}")
    run(stage_params(ShardsParams, min_identities=4))
    manifest = Manifest.read(SHARDS_DIR)
    assert set(manifest.splits) == {"train"}
    assert "no validation split: 3 unassigned identities" in manifest.notes[0]


def test_a_person_assigned_to_both_sides_is_refused():
    add_clip("a", "anna", "val")
    add_clip("b", "anna", "train")
    with pytest.raises(ValueError, match=r"'anna'.*one person belongs to one side"):
        run(stage_params(ShardsParams))
    assert not SHARDS_DIR.exists()


def test_nobody_left_to_train_is_refused():
    add_clip("a", "anna", "val")
    with pytest.raises(StageError, match="nobody is left to train on"):
        run(stage_params(ShardsParams))


def test_growing_the_corpus_moves_few_people():
    def val_of(count: int) -> set[str]:
        records = [make_record(f"c{n}", identity=f"person{n}") for n in range(count)]
        return {f"person{c[1:]}" for c in plan_split(records, val_fraction=0.1, min_identities=4, seed=0).val}

    before, after = val_of(100), val_of(110)
    assert len(before) == 10 and len(after) == 11
    assert len(before - after) <= 3


def test_a_broken_clip_is_named_and_the_old_shards_stay():
    add_clip("a", "anna")
    run(stage_params(ShardsParams))
    before = (SHARDS_DIR / "manifest.json").read_bytes()
    add_clip("b", "ben")
    whole = (CLIPS_DIR / "b.tar").read_bytes()
    edit_clip("b", without="001.jpg")
    with pytest.raises(ValueError, match=r"clips/b\.tar: missing \['001.jpg'\]"):
        run(stage_params(ShardsParams))
    assert (SHARDS_DIR / "manifest.json").read_bytes() == before
    (CLIPS_DIR / "b.tar").write_bytes(whole)
    edit_clip("b", licence=7)
    with pytest.raises(ValueError, match=r"b\.tar: clip\.json: licence"):
        run(stage_params(ShardsParams))
    for cut in (0, 100, 700, len(whole) // 2):
        (CLIPS_DIR / "b.tar").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"clips/b\.tar"):
            run(stage_params(ShardsParams))
    assert (SHARDS_DIR / "manifest.json").read_bytes() == before


def test_clips_of_two_sizes_are_refused():
    add_clip("a", "anna")
    add_clip("b", "ben")
    edit_clip("b", image_size=64)
    with pytest.raises(StageError, match=r"different sizes \[32, 64\]"):
        run(stage_params(ShardsParams))


def shard_bytes() -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in SHARDS_DIR.glob("*/*.tar")}


def test_appended_clips_leave_the_old_shards_alone_and_nobody_changes_sides():
    params = stage_params(ShardsParams, val_fraction=0.2, target_mb=0.03)
    for number in range(10):
        add_clip(f"old{number}", f"person{number}")
    run(params)
    before, sides = shard_bytes(), {split: people_in(split) for split in ("train", "val")}
    for number in range(10):
        add_clip(f"new{number}", f"person{number}" if number < 4 else f"stranger{number}")
    manifest = append_shards(params, CLIPS_DIR, SHARDS_DIR)
    after = shard_bytes()
    assert before.items() < after.items() and verify_shards(SHARDS_DIR) == []
    assert sum(info.num_clips for info in manifest.splits.values()) == 20
    assert all(people <= people_in(split) for split, people in sides.items())
    assert len(people_in("val") - sides["val"]) == 2 and not people_in("train") & people_in("val")
    assert append_shards(params, CLIPS_DIR, SHARDS_DIR) == manifest and shard_bytes() == after
    edit_clip("old3", licence="another")
    with pytest.raises(StageError, match="old3: the shards hold another state"):
        append_shards(params, CLIPS_DIR, SHARDS_DIR)


def test_missing_input_names_the_stage():
    with pytest.raises(StageError, match="run the 'ingest' stage first"):
        run(stage_params(ShardsParams))


def published_params(**changes) -> ShardsParams:
    return stage_params(ShardsParams, val_fraction=0.3, target_mb=0.02, published=Path("published"), **changes)


def test_published_shards_keep_their_bytes_and_people_their_sides_when_a_corpus_grows():
    """As DVC runs the stage: data/shards is gone when it begins."""
    for number in range(10):
        add_clip(f"old{number}-0", f"old{number}")
    run(stage_params(ShardsParams, val_fraction=0.3, target_mb=0.02))
    assert write_published(SHARDS_DIR, Path("published")) == len(shard_bytes())
    assert write_published(SHARDS_DIR, Path("published")) == 0, "nothing is new"
    before, sides = shard_bytes(), {split: people_in(split) for split in ("train", "val")}
    shutil.rmtree(SHARDS_DIR)
    run(published_params())
    assert shard_bytes() == before, "packed again, the same"

    for number in range(10):
        add_clip(f"new{number}-0", f"new{number}")
        add_clip(f"old{number}-1", f"old{number}")
    shutil.rmtree(SHARDS_DIR)
    run(published_params())
    after = shard_bytes()
    assert {name: after[name] for name in before} == before and len(after) > len(before)
    assert sides["train"] <= people_in("train") and sides["val"] <= people_in("val")
    assert len(people_in("val")) == 6 and not people_in("train") & people_in("val")
    assert verify_shards(SHARDS_DIR) == []


def test_a_taken_down_clip_leaves_its_published_shard_and_changed_clips_are_refused():
    for number in range(10):
        add_clip(f"old{number}-0", f"old{number}")
    run(stage_params(ShardsParams, val_fraction=0.3, target_mb=0.02))
    write_published(SHARDS_DIR, Path("published"))
    before = shard_bytes()
    gone = ShardReader(SHARDS_DIR / "train").clip_ids[0]
    (CLIPS_DIR / f"{gone}{CLIP_SUFFIX}").unlink()
    shutil.rmtree(SHARDS_DIR)
    run(published_params())
    after = shard_bytes()
    assert gone not in ShardReader(SHARDS_DIR / "train").clip_ids
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"train/shard-00000.tar"}
    assert write_published(SHARDS_DIR, Path("published")) == 1
    left = ShardReader(SHARDS_DIR / "train").clip_ids[0]
    edit_clip(left, licence="another")
    with pytest.raises(StageError, match=r"shards\.published: shard-0000\d\.tar: its clips are not what was published"):
        run(published_params())
