"""kill -9 at random moments: whatever is killed, the shards end as those of an uninterrupted run, byte for byte."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import CorpusParams
from pipeline.ingest import IngestParams
from pipeline.shards import ShardsParams
from sheap.data.manifest import verify_shards
from tests.stage_settings import stage_params
from tests.video.made_videos import carphone_frames, noise_frames, write_video

REPOSITORY = Path(__file__).parents[2]
NUM_KILLS = 20

PARAMS = {
    "corpus": stage_params(CorpusParams, folder="videos", carphone=False, replay_people=0),
    "ingest": stage_params(
        IngestParams, image_size=48, min_frames=3, max_frames=4, num_workers=1, filter={"min_head_px": 40}
    ),
    "shards": stage_params(ShardsParams, min_identities=2, val_fraction=0.3, target_mb=0.05),
}

# the three stages as their own programs would run them, without starting Python three times
ALL_STAGES = """
import pipeline.corpus as corpus, pipeline.ingest as ingest, pipeline.shards as shards
from pipeline.run.stage import stage_main
if __name__ == "__main__":
    for stage, params in ((corpus, corpus.CorpusParams), (ingest, ingest.IngestParams), (shards, shards.ShardsParams)):
        code = stage_main(stage.__name__.split(".")[-1], params, stage.run)
        assert code == 0, code
"""


def make_project(folder: Path) -> Path:
    (folder / "videos").mkdir(parents=True)
    talking = carphone_frames(36)
    for number in range(7):
        frames = [np.ascontiguousarray(image[:, :: 1 - 2 * (number % 2)]) for image in talking[4 * number :][:8]]
        write_video(folder / f"videos/talk {number}.mp4", frames)
    write_video(folder / "videos/nobody.mp4", noise_frames(4))
    (folder / "videos/letter.mp4").write_text("Dear all,\n")
    (folder / "params.yaml").write_text(json.dumps({name: params.model_dump(mode="json") for name, params in PARAMS.items()}))
    (folder / "all_stages.py").write_text(ALL_STAGES)
    return folder


def start(project: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with (project / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "all_stages.py"], cwd=project, env=environment, start_new_session=True,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_twenty_kills_leave_no_mark(tmp_path):
    whole = make_project(tmp_path / "whole")
    began = time.monotonic()
    process = start(whole)
    assert process.wait() == 0, (whole / "log.txt").read_text()
    whole_s = time.monotonic() - began

    project = make_project(tmp_path / "killed")
    moments = random.Random(int(time.time()))  # other moments every time; what must hold does not depend on them
    killed = finished = 0
    while killed < NUM_KILLS:
        process = start(project)
        try:
            # from the imports to the last rename; a resumed run has less to do, so it is also killed late in its way
            process.wait(timeout=moments.uniform(0.15, 1.0) * whole_s)
        except subprocess.TimeoutExpired:
            # every third time the stage dies alone and its worker lives on for a while, beside the next run
            (os.kill if killed % 3 == 2 else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        else:
            assert process.returncode == 0, (project / "log.txt").read_text()
            finished += 1
            assert finished <= NUM_KILLS, "it ends before it can be killed"
            assert tree(project / "data") == tree(whole / "data")
            for folder in ("data", ".sheap"):  # from the beginning, to be killed again
                shutil.rmtree(project / folder)
        if (project / "data/shards").exists():
            assert verify_shards(project / "data/shards") == []
    assert start(project).wait() == 0, (project / "log.txt").read_text()
    assert tree(project / "data") == tree(whole / "data")
    assert not list((project / ".sheap").glob("ingest/*/*.tmp"))
