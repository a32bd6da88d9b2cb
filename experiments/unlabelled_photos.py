"""Rendered photos as real ones come: landmarks by the detector, no truth: `python -m experiments.unlabelled_photos --out FOLDER`.

Takes the photos of `experiments.rendered_photos` (STATE/shards), whose landmarks are the renderer's own, and puts the landmark
network's in their place, as ingestion would find them; people go in one of whose photos it sees no face. Those who train lose
their truth; those held out keep it, to be judged by.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.rendered_photos import CAMPAIGN_DIR, IMAGE_SIZE
from sheap.data.codecs import encode_landmarks
from sheap.data.manifest import MANIFEST_NAME, Manifest, SplitInfo
from sheap.data.reader import ShardReader
from sheap.data.schema import LANDMARKS_NAME, RECORD_NAME, TRUTH_NAME, member_names
from sheap.data.shard_writer import ClipMembers, write_split
from sheap.files import write_bytes
from sheap.video.face_landmarker import MIN_PRESENCE, FaceLandmarker, roi_from_landmarks

SHARD_BYTES = 64 * 2**20
LOOKS = 2
"""A tracked face's region comes from landmarks that were found; here the first one comes from the true ones."""


def detected(landmarker: FaceLandmarker, image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Landmarks [478, 3] px that the network finds near known ones; None where it sees no face."""
    for _ in range(LOOKS):
        found = landmarker.landmarks(image, roi_from_landmarks(points))
        if found.presence < MIN_PRESENCE:
            return None
        points = found.points
    return points


def unlabelled_clips(reader: ShardReader, people: int, landmarker: FaceLandmarker, keeps_truth: bool) -> Iterator[ClipMembers]:
    """The first so many clips of a split with detected landmarks, less those with a photo in which none are found."""
    for clip in range(min(people, len(reader))):
        record, true = reader.record(clip), reader.landmarks(clip)
        found = [detected(landmarker, reader.image(clip, k), true[k]) for k in range(record.num_frames)]
        points = [one for one in found if one is not None]
        if len(points) < len(found):
            continue
        if not keeps_truth:
            record = record.model_copy(update={"truth": None})
        changed = {RECORD_NAME: record.to_json(), LANDMARKS_NAME: encode_landmarks(np.stack(points))}
        names = member_names(record.num_frames, has_truth=record.truth is not None)
        assert (TRUTH_NAME in names) == keeps_truth
        yield ClipMembers(record, [(name, changed.get(name) or reader.member(clip, name)) for name in names])


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=CAMPAIGN_DIR)
    parser.add_argument("--people", type=int, default=5000, help="who train")
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True, help="the new shard folder")
    arguments = parser.parse_args(arguments_given)
    landmarker = FaceLandmarker()
    arguments.out.mkdir(parents=True)
    splits: dict[Literal["train", "val"], SplitInfo] = {}
    counts: tuple[tuple[Literal["train", "val"], int], ...] = (("train", arguments.people), ("val", arguments.held_out))
    for split, count in counts:
        reader = ShardReader(arguments.state / "shards" / split, verify_hashes=False)
        clips = unlabelled_clips(reader, count, landmarker, keeps_truth=split == "val")
        splits[split] = write_split(arguments.out / split, clips, target_bytes=SHARD_BYTES)
        print(f"{split}: {splits[split].num_clips} people, {splits[split].num_frames} photos", flush=True)
    manifest = Manifest(image_size=IMAGE_SIZE, splits=splits).sealed()
    write_bytes(arguments.out / MANIFEST_NAME, manifest.to_json())


if __name__ == "__main__":
    sys.exit(main())
