from __future__ import annotations

import re
import tarfile

import lz4.frame
import numpy as np
import pytest
import webdataset

from sheap.data.clip_file import read_clip_members, read_clip_record, write_clip_file
from sheap.data.codecs import decode_landmarks, decode_mask, encode_mask
from sheap.data.manifest import MANIFEST_NAME, Manifest, verify_shards
from sheap.data.reader import ShardReader
from sheap.data.schema import ClipRecord, check_clip_id, member_names
from sheap.data.shard_writer import stored_order
from tests.data.made_clips import SIZE, make_clip, make_record


def test_the_same_clips_give_the_same_bytes(shard_folder):
    first, second = shard_folder("first"), shard_folder("second")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) > 4
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_headers_carry_no_time_and_no_owner(shard_folder):
    for path in shard_folder().glob("train/*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_stored_order_depends_on_ids_and_seed_only():
    ids = [f"clip{n}" for n in range(50)]
    assert stored_order(ids, 1) == stored_order(reversed(ids), 1)
    assert stored_order(ids, 1) != stored_order(ids, 2) != ids


def test_webdataset_reads_the_shards_one_sample_a_clip(shard_folder):
    folder = shard_folder()
    urls = [str(p) for p in sorted(folder.glob("train/*.tar"))]
    assert len(urls) > 1
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    reader = ShardReader(folder / "train")
    assert [s["__key__"] for s in samples] == reader.clip_ids
    assert set(member_names(4, has_truth=False)) <= set(samples[0])


def test_the_reader_gives_back_what_was_stored(shard_folder):
    reader = ShardReader(shard_folder() / "train")
    number = reader.position("clip5")
    clip = reader.clip(number)
    stored = dict(make_clip("clip5", identity="person2").members)
    assert clip.record.identity == "person2"
    assert clip.images.shape == (4, SIZE, SIZE, 3) and clip.masks.shape == (4, SIZE, SIZE)
    assert reader._read(number, "002.jpg")[0] == stored["002.jpg"]
    assert clip.masks[3, 10, 7] == 255 and clip.masks[3, 10, 6] == 0
    assert abs(int(clip.images[2, 5, 5, 2]) - 20) < 4
    for frame in range(4):
        image, mask = reader.image_and_mask(number, frame)
        assert np.array_equal(image, reader.image(number, frame)) and np.array_equal(image, clip.images[frame])
        assert np.array_equal(mask, reader.mask(number, frame)) and np.array_equal(mask, clip.masks[frame])
    reader.close()
    assert np.array_equal(reader.landmarks(number), clip.landmarks)


def corrupt(folder, how):
    shard = sorted(folder.glob("train/*.tar"))[1]
    if how == "flipped byte":
        content = bytearray(shard.read_bytes())
        content[2000] ^= 1
        shard.write_bytes(content)
    elif how == "cut at a member":
        with tarfile.open(shard) as archive:
            offset = archive.getmembers()[5].offset
        shard.write_bytes(shard.read_bytes()[:offset] + b"\0" * 1024)
    elif how == "missing shard":
        shard.unlink()
    elif how == "extra shard":
        (folder / "train" / "shard-99999.tar").write_bytes(shard.read_bytes())
    elif how == "edited index":
        path = folder / "train" / "index.json"
        path.write_text(path.read_text().replace("clip1", "clip7"))
    elif how == "edited manifest":
        path = folder / MANIFEST_NAME
        path.write_text(path.read_text().replace('"person1"', '"person9"'))
    elif how == "no manifest":
        (folder / MANIFEST_NAME).unlink()
    elif how == "unknown manifest field":
        path = folder / MANIFEST_NAME
        path.write_text(path.read_text().replace('"image_size"', '"image_sizes"'))
    elif how == "stray folder":
        (folder / "test").mkdir()
    else:
        raise AssertionError(how)
    return shard


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ("flipped byte", "shard-00001.tar.*SHA-256"),
        ("cut at a member", "shard-00001.tar.*bytes, the manifest says"),
        ("missing shard", "shard-00001.tar: missing"),
        ("extra shard", "shard-99999.tar: not in the manifest"),
        ("edited index", "index.json.*SHA-256"),
        ("edited manifest", "manifest.json.*data_hash"),
        ("no manifest", "manifest.json: missing"),
        ("unknown manifest field", "manifest.json: image_size"),
        ("stray folder", "test: not in the manifest"),
    ],
)
def test_damage_is_found_and_named_and_refused(shard_folder, how, names):
    folder = shard_folder()
    assert verify_shards(folder) == []
    corrupt(folder, how)
    problems = verify_shards(folder)
    assert len(problems) == 1
    assert re.search(names, problems[0])
    if how != "stray folder":
        with pytest.raises(ValueError, match=names):
            ShardReader(folder / "train")


def test_a_flipped_byte_passes_only_where_hashing_is_switched_off(shard_folder):
    folder = shard_folder()
    corrupt(folder, "flipped byte")
    assert verify_shards(folder, hashes=False) == []
    ShardReader(folder / "train", verify_hashes=False)


def test_the_data_hash_follows_the_data(shard_folder):
    hashes = {Manifest.read(shard_folder(f"n{n}", num_clips=n)).data_hash for n in (3, 4, 5)}
    assert len(hashes) == 3


def test_a_split_that_does_not_exist_is_named(shard_folder):
    with pytest.raises(ValueError, match="no split 'val'"):
        ShardReader(shard_folder() / "val")


def test_a_clip_file_round_trips_and_is_checked(tmp_path):
    record = make_record("abc", 2)
    images = [np.full((SIZE, SIZE, 3), v, np.uint8) for v in (10, 200)]
    masks = [np.full((SIZE, SIZE), v, np.uint8) for v in (0, 255)]
    landmarks = np.random.default_rng(0).normal(size=(2, 478, 3)).astype(np.float32)
    path = write_clip_file(tmp_path, record, images, masks, landmarks)
    assert path == tmp_path / "abc.tar" and read_clip_record(path) == record
    again, members = read_clip_members(path)
    assert again == record and [name for name, _ in members] == member_names(2, has_truth=False)
    content = dict(members)
    assert np.array_equal(decode_mask(content["001.mask.lz4"], "here"), masks[1])
    assert np.array_equal(decode_landmarks(content["landmarks.npy"], 2, "here"), landmarks)
    path.write_bytes(path.read_bytes().replace(b"001.mask.lz4", b"001.misk.lz4"))
    with pytest.raises(ValueError, match=r"abc\.tar"):
        read_clip_members(path)
    path.rename(tmp_path / "other.tar")
    with pytest.raises(ValueError, match="clip_id is 'abc'"):
        read_clip_record(tmp_path / "other.tar")


@pytest.mark.parametrize("side", [1, 32, 224])
def test_masks_are_exact_and_can_be_changed(side):
    mask = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    decoded = decode_mask(encode_mask(mask), "here")
    assert decoded.dtype == np.uint8 and np.array_equal(decoded, mask)
    decoded[0, 0] = 7
    assert lz4.frame.decompress(encode_mask(mask)) == mask.tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "here: not a readable LZ4 file"),
        (b"\x89PNG\r\n\x1a\n", "here: not a readable LZ4 file"),
        (encode_mask(np.full((32, 32), 9, np.uint8))[:-6], "here: not a readable LZ4 file"),
        (lz4.frame.compress(b"12345"), "here: 5 bytes are not a square mask"),
        (lz4.frame.compress(b""), "here: 0 bytes are not a square mask"),
    ],
)
def test_what_is_no_mask_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        decode_mask(content, "here")


def test_an_older_schema_is_refused_in_one_line(shard_folder, tmp_path):
    folder = shard_folder()
    path = folder / MANIFEST_NAME
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 3', b'"schema_version": 2'))
    with pytest.raises(ValueError, match=r"manifest\.json: schema_version: 2, but .* reads 3: make .* anew") as caught:
        ShardReader(folder / "train")
    assert "\n" not in str(caught.value)
    assert verify_shards(folder) == [str(caught.value)]
    old = make_record("abc", 2).to_json().replace(b'"schema_version":3', b'"schema_version":2')
    with pytest.raises(ValueError, match="here: schema_version: 2, but"):
        ClipRecord.from_json(old, "here")


def test_a_record_with_too_few_entries_is_refused():
    record = make_record("abc", 3).model_copy(update={"sharpness": [1.0]})
    with pytest.raises(ValueError, match="here: sharpness: expected 3"):
        ClipRecord.from_json(record.to_json(), "here")
    with pytest.raises(ValueError, match="here"):
        ClipRecord.from_json(b"{", "here")


@pytest.mark.parametrize("bad", ["", "a.b", "a/b", "ä", "a b", "x" * 121])
def test_ids_that_would_break_a_tar_are_refused(bad):
    with pytest.raises(ValueError, match="clip id"):
        check_clip_id(bad)


def test_one_frames_landmarks_are_cut_out_of_the_clips(shard_folder):
    reader = ShardReader(shard_folder(num_clips=3, num_frames=5) / "train")
    for number in range(3):
        assert reader.num_frames(number) == reader.record(number).num_frames == 5
        for frame in range(5):
            assert np.array_equal(reader.frame_landmarks(number, frame), reader.landmarks(number)[frame])
    with pytest.raises(ValueError, match="has 5 frames, asked for number 5"):
        reader.frame_landmarks(0, 5)


def test_remembered_records_are_bounded(shard_folder, monkeypatch):
    monkeypatch.setattr("sheap.data.reader._REMEMBERED_RECORDS", 2)
    reader = ShardReader(shard_folder(num_clips=6) / "train")
    assert [reader.record(n).clip_id for n in (*range(6), 0)] == [*reader.clip_ids, reader.clip_ids[0]]
    assert len(reader._records) == 2
