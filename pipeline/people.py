"""Stage `people`: renders moving heads with known truth as ordinary videos.

Writes data/people/: clips/NAME.mp4, truth/NAME.npz (see sheap.people.clips.clip_truth), people.json. That holds the hash of each
truth file, so that whoever depends on the list depends on the truth too.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pydantic import Field

from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import atomic_directory, cpu_count, stage_main
from sheap.files import write_arrays, write_json
from sheap.people.cast import cast_member
from sheap.people.clips import ClipSettings, clip_truth, film, plan_clip
from sheap.people.makehuman import shared_assets
from sheap.people.person import Person
from sheap.people.studio import Studio, shared_studio
from sheap.people.video_file import write_mp4

OUTPUT = Path("data/people")
LICENCE = "CC0-1.0"
"""Of what we render from the open head model and the package's looks."""

log = logging.getLogger(__name__)


class PeopleParams(StageParams):
    """Settings of the rendered people."""

    seed: int = Field(ge=0)
    train_people: int = Field(ge=1)
    validation_people: int = Field(ge=1)
    clips_per_person: int = Field(ge=1)
    frames: int = Field(ge=2)
    fps: int = Field(ge=1)
    sizes: list[tuple[int, int]]
    """(height, width) of the videos; each clip takes one. Even numbers, as H.264 wants."""
    yaw_range_deg: float = Field(ge=0, le=90)
    """Spread of the directions people face."""
    liveliness: float = Field(gt=0, le=3)
    """Speed and size of all movement."""
    glasses_share: float = Field(ge=0, le=1)
    """Share of people who wear glasses."""
    crf: tuple[int, int]
    """x264 quality of the files, from fine to coarse."""
    assets: Path | None
    """Folder in the form of MakeHuman's CC0 assets (skins, hair, eyes); null: the package's own looks."""


def run(params: PeopleParams) -> None:
    """Renders all clips in as many processes as there are cores."""
    for height, width in params.sizes:
        if height % 2 or width % 2 or min(height, width) < 64:
            raise StageError(f"people.sizes: {height} x {width} must be even numbers of at least 64")
    jobs = [
        (role, index, clip)
        for role, count in (("train", params.train_people), ("validation", params.validation_people))
        for index in range(count)
        for clip in range(params.clips_per_person)
    ]
    shared_assets(str(params.assets or ""))  # A wrong folder is told before anything is rendered.
    begin = time.monotonic()
    with atomic_directory(OUTPUT) as folder:
        (folder / "clips").mkdir()
        (folder / "truth").mkdir()
        with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(render_clip, params, folder, *job) for job in jobs]
            entries = []
            for done, future in enumerate(futures, 1):
                entries.append(future.result())
                if done % 8 == 0 or done == len(futures):
                    log.info("%d of %d clips, %.0f s", done, len(futures), time.monotonic() - begin)
        document = {"licence": LICENCE, "origin": "rendered by this project", "fps": params.fps, "people": entries}
        write_json(folder / "people.json", document)


def render_clip(params: PeopleParams, folder: Path, role: str, index: int, number: int) -> dict:
    """Renders one clip and its truth; returns its entry for people.json. Runs in a worker process."""
    studio: Studio = shared_studio()
    member = cast_member(params.seed, role, index, studio.head)
    settings = ClipSettings(params.frames, params.fps, params.sizes, params.yaw_range_deg, params.liveliness)
    assets = shared_assets(str(params.assets or ""))
    # Chosen by the person, not by the clip: someone looks the same in all of theirs.
    looks = assets.choose(member.traits, member.rng(901)) if assets else None
    worn = ("glasses",) if member.rng(902).random() < params.glasses_share else ()
    person = Person(studio, member.shape, member.traits, member.looks_seed, worn, looks)
    clip = plan_clip(studio, member, number, settings)
    name = f"{member.name}-{number:02d}"
    labels, seen = [], []

    def frames():
        for frame in film(person, clip):
            labels.append(frame.labels)
            seen.append(frame.seen)
            yield frame.picture

    crf = int(np.random.default_rng(clip.noise_seed).integers(params.crf[0], params.crf[1] + 1))
    write_mp4(folder / "clips" / f"{name}.mp4", frames(), params.fps, crf)
    truth = folder / "truth" / f"{name}.npz"
    write_arrays(truth, clip_truth(studio, clip, np.stack(labels), np.stack(seen)))
    return {
        "name": name,
        "identity": member.name,
        "split": role,
        "seed": list(member.seed_path),
        "licence": LICENCE,
        "file": f"clips/{name}.mp4",
        "truth": f"truth/{name}.npz",
        "truth_sha256": hashlib.sha256(truth.read_bytes()).hexdigest(),
        "height": clip.shot.height,
        "width": clip.shot.width,
        "frames": params.frames,
        "crf": crf,
        "traits": asdict(member.traits),
        "accessories": list(worn),
        "assets": looks.names if looks else {},
    }


if __name__ == "__main__":
    sys.exit(stage_main("people", PeopleParams, run))
