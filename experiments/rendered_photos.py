"""Photos of rendered people, in shards, as many as time allows: `python -m experiments.rendered_photos`.

Work goes in chunks of people; a finished chunk is one tar and stays. A run that is cut off goes on with the next chunk, and
`--people` may grow from run to run. What is finished is assembled into a shard folder (STATE/shards) that training reads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from pipeline.run.stage import STATE_DIR, cpu_count
from sheap.data.manifest import MANIFEST_NAME, Manifest, ShardInfo, SplitInfo
from sheap.data.schema import TruthLayout
from sheap.data.shard_writer import SplitParts, WrittenShard, link_or_copy, write_shard
from sheap.head.door import head_sha256
from sheap.people.cast import cast_member
from sheap.people.photo_clips import photo_clip
from sheap.people.photos import PhotoSettings, training_photos
from sheap.people.studio import shared_studio

CAMPAIGN_DIR = STATE_DIR / "campaign"
SEED = 14
"""Of the people: not those of the demo's corpus or benchmark."""
PEOPLE_A_CHUNK = 100
PHOTOS_OF: dict[str, int] = {"train": 2, "validation": 3}
"""Photos of a person: what people differ in is learnt from many people, not from many photos of one."""
IMAGE_SIZE = 192

Role = Literal["train", "validation"]
SPLIT_OF: dict[Role, Literal["train", "val"]] = {"train": "train", "validation": "val"}


def render_chunk(folder: Path, role: Role, chunk: int) -> int:
    """People chunk * 100 to chunk * 100 + 99 of a role, as one tar with its part of the index beside it (.json). Returns how many
    photos they are."""
    studio = shared_studio()
    sha256 = head_sha256(None)
    layout = TruthLayout(
        head_sha256=sha256, num_shape=studio.head.num_shape, num_expression=studio.head.num_expression
    )
    settings = PhotoSettings(IMAGE_SIZE)

    def clips():
        for index in range(chunk * PEOPLE_A_CHUNK, (chunk + 1) * PEOPLE_A_CHUNK):
            member = cast_member(SEED, role, index, studio.head)
            photos = list(training_photos(studio, member, PHOTOS_OF[role], settings))
            yield photo_clip(member, photos, layout, SPLIT_OF[role])

    name = shard_name(chunk)
    written = write_shard(folder, name, clips())
    document = {
        "head_sha256": sha256,
        "info": written.info.model_dump(),
        "entries": written.entries,
        "num_frames": written.num_frames,
        "identities": sorted(written.identities),
    }
    path = folder / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(path)
    return written.num_frames


def shard_name(chunk: int) -> str:
    return f"shard-{chunk:05d}.tar"


def assemble(state: Path) -> Manifest:
    """All finished chunks as the shard folder STATE/shards. Raises ValueError where none of a role is finished or a chunk is of
    another head model."""
    sha256 = head_sha256(None)
    made = state / ".shards.tmp"
    shutil.rmtree(made, ignore_errors=True)
    splits: dict[Literal["train", "val"], SplitInfo] = {}
    for role, split in SPLIT_OF.items():
        folder = state / "photos" / role
        parts = SplitParts()
        (made / split).mkdir(parents=True)
        for path in sorted(folder.glob("*.tar.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["head_sha256"] != sha256:
                raise ValueError(f"{path}: rendered with another head model; remove {folder} and render anew")
            info = ShardInfo.model_validate(document["info"])
            link_or_copy(folder / info.name, made / split / info.name)
            parts.add(WrittenShard(info, document["entries"], document["num_frames"], set(document["identities"])))
        if not parts.shards:
            raise ValueError(f"{folder}: no finished chunk; run python -m experiments.rendered_photos first")
        splits[split] = parts.finish(made / split)
    manifest = Manifest(image_size=IMAGE_SIZE, splits=splits).sealed()
    (made / MANIFEST_NAME).write_bytes(manifest.to_json())
    shards = state / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    made.rename(shards)
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=CAMPAIGN_DIR)
    parser.add_argument("--people", type=int, default=30_000, help="to train on")
    parser.add_argument("--held-out", type=int, default=600, help="never trained on")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="processes, a thread each")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no chunk after so long")
    arguments = parser.parse_args()
    counts: dict[Role, int] = {"validation": arguments.held_out, "train": arguments.people}
    jobs = []
    for role, count in counts.items():
        folder = arguments.state / "photos" / role
        folder.mkdir(parents=True, exist_ok=True)
        chunks = range(-(-count // PEOPLE_A_CHUNK))
        jobs += [(folder, role, chunk) for chunk in chunks if not (folder / f"{shard_name(chunk)}.json").exists()]
    begin, done, photos = time.monotonic(), 0, 0
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        waiting = iter(jobs)
        running = {pool.submit(render_chunk, *job) for job in islice(waiting, arguments.workers)}
        while running:
            finished = next(as_completed(running))
            running.remove(finished)
            photos += finished.result()
            done += 1
            minutes = (time.monotonic() - begin) / 60
            print(f"{done} of {len(jobs)} chunks, {minutes:.1f} min, {photos / (60 * minutes):.1f} photos a second", flush=True)
            if minutes < arguments.minutes and (job := next(waiting, None)) is not None:
                running.add(pool.submit(render_chunk, *job))
    manifest = assemble(arguments.state)
    print({split: (info.num_clips, info.num_frames) for split, info in manifest.splits.items()})


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
