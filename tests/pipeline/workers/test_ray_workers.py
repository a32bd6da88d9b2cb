from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.video.made_videos import carphone_frames, noise_frames, write_video

REPOSITORY = Path(__file__).parents[3]

# in a process of its own: Ray's head must not outlive the test in the test runner
PROGRAM = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {repository!r})

def start():
    return do

def do(task):
    if task == "raise":
        raise ValueError("two\\nlines")
    if task == "die":
        os._exit(7)
    if task == "hang":
        time.sleep(60)
    return task.upper()

if __name__ == "__main__":
    import pipeline.corpus as corpus, pipeline.ingest as ingest, ray
    from tests.stage_settings import stage_params
    corpus.run(stage_params(corpus.CorpusParams, folder=Path("videos"), carphone=False, replay_people=0))
    params = stage_params(ingest.IngestParams, image_size=48, min_frames=3, num_workers=1, filter={{"min_head_px": 40}})
    ingest.run(params)
    one = {{str(p): p.read_bytes() for p in sorted(Path("data/ingest").rglob("*")) if p.is_file()}}
    from pipeline.workers.ray_cluster import ray_cluster
    from pipeline.workers.ray_workers import run_ray_tasks
    with ray_cluster(None, 1, "ingest.ray_address"):
        tasks = ["a", "raise", "b", "die", "c", "hang", "d"]
        outcomes = [(o.task, o.result, o.failure, o.detail) for o in run_ray_tasks(start, tasks, num_workers=1, timeout_s=12)]
    import shutil
    shutil.rmtree(".sheap"), shutil.rmtree("data/ingest")
    ingest.run(params.model_copy(update={{"executor": "ray"}}))
    two = {{str(p): p.read_bytes() for p in sorted(Path("data/ingest").rglob("*")) if p.is_file()}}
    Path("result.json").write_text(json.dumps([outcomes, one == two, len(two)]))
"""


@pytest.mark.slow
def test_ray_does_the_same_and_survives_the_same(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/talk.mp4", carphone_frames(5))
    write_video(tmp_path / "videos/nobody.mp4", noise_frames(3))
    (tmp_path / "program.py").write_text(PROGRAM.format(repository=str(REPOSITORY)))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"}, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    outcomes, are_equal, num_files = json.loads((tmp_path / "result.json").read_text())
    by_task = {task: (result, failure, detail) for task, result, failure, detail in outcomes}
    assert {task: by_task[task][0] for task in "abcd"} == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert by_task["raise"][1:] == ("worker_failed", "ValueError: two lines")
    assert by_task["die"][1] == "worker_died" and by_task["hang"][1] == "timed_out"
    assert are_equal and num_files >= 3
