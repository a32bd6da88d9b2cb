"""Stage `train`: self-supervised training inside Ray Train; writes data/model.

Ray is started and ended here. Checkpoints, history and panels gather under .sheap/checkpoints/HASH, where HASH is of
everything that decides the result (settings, data, code, weight files): the same command after a kill goes on from there,
and a changed setting never meets another run's checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from pipeline.files.head_files import prepared_head
from pipeline.run.code_dependencies import code_hash
from pipeline.run.compilers import require_compiler
from pipeline.run.provenance import fingerprint_files, git_commit, hardware
from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import STATE_DIR, atomic_directory, cpu_count, require_input, stage_main
from pipeline.workers.train_progress import follow_history
from sheap.data.addresses import is_address, read_manifest
from sheap.data.manifest import Manifest
from sheap.head.door import head_sha256
from sheap.networks.config import EncoderConfig
from sheap.networks.face_mesh import FaceMesh
from sheap.networks.face_mesh_weights import load_face_mesh_weights
from sheap.precision import resolve_precision
from sheap.training.config import RunConfig
from sheap.training.run import TrainingRun, start_folder
from sheap.training.run_folder import CHECKPOINT_NAME, HISTORY_NAME, PANELS_NAME
from sheap.video.face_models import LANDMARKS_MEMBER, find_bundle, read_bundle_member

MODEL_DIR = Path("data/model")
CHECKPOINTS_DIR = STATE_DIR / "checkpoints"

log = logging.getLogger("train")


class WorkerParams(StageParams):
    """Who trains. num_workers `auto`: one for each GPU, or one on the CPU."""

    num_workers: Literal["auto"] | Annotated[int, Field(ge=1)]
    threads_per_worker: Literal["auto"] | Annotated[int, Field(ge=1)]
    loader_processes: Annotated[int, Field(ge=0)]
    use_gpu: Literal["auto"] | bool
    max_failures: Annotated[int, Field(ge=0)]
    """How often a lost worker group is started again from the last checkpoint."""
    ray_address: str | None
    """A running Ray cluster; null starts Ray for this stage alone."""


class TrainParams(RunConfig, StageParams):
    """Params section `train`: the run, and who does it."""

    workers: WorkerParams
    wandb_mode: Literal["offline", "online", "disabled"]

    def run_config(self) -> RunConfig:
        """The run alone, as the library takes it."""
        return RunConfig.model_validate({name: getattr(self, name) for name in RunConfig.model_fields})


def run(params: TrainParams) -> None:
    """Reads the shards (`data.shards`), writes data/model."""
    manifest = read_manifest(_shards(params))
    for name, path in params.weight_files.named().items():
        if not path.exists():
            raise StageError(f"params.yaml: train.weight_files.{name}: {path} does not exist")
    check_face_landmarks(params)
    num_workers, threads, use_gpu = resolve_workers(params.workers)
    if params.training.compile:
        require_compiler("train.training.compile", "cuda" if use_gpu else "cpu")
    say_what_is_left_out(params)
    run_hash, identity = identify_run(params, manifest)
    folder = (CHECKPOINTS_DIR / run_hash).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    config = params.run_config().changed({"weight_files.head_model": prepared_head(params.weight_files.head_model)})
    started = time.time()
    _train(params, config, folder, run_hash, num_workers, threads, use_gpu)
    precision = resolve_precision(params.training.precision, "cuda" if use_gpu else "cpu")
    workers = {
        "num_workers": num_workers, "threads_per_worker": threads, "use_gpu": use_gpu,
        "precision": str(precision).removeprefix("torch."),
    }  # fmt: skip
    _write_model(params, config, manifest, folder, identity | {"run": run_hash}, workers, time.time() - started)
    shutil.rmtree(folder)


def _shards(params: TrainParams) -> str:
    """Where shards lie; a folder must be there."""
    place = params.data.shards
    return place if is_address(place) else str(require_input(Path(place), "shards"))


def resolve_workers(workers: WorkerParams) -> tuple[int, int, bool]:
    """Number of workers, threads of each, and whether they use GPUs."""
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    use_gpu = num_gpus > 0 if workers.use_gpu == "auto" else workers.use_gpu
    if use_gpu and num_gpus == 0 and workers.ray_address is None:
        raise StageError("params.yaml: train.workers.use_gpu: true, but torch sees no GPU")
    num_workers = (max(1, num_gpus) if use_gpu else 1) if workers.num_workers == "auto" else workers.num_workers
    share = max(1, cpu_count() // num_workers)
    return num_workers, share if workers.threads_per_worker == "auto" else workers.threads_per_worker, use_gpu


def check_face_landmarks(params: TrainParams) -> None:
    """Raises StageError naming field and file where the encoder's frozen landmark network cannot be read from it: found out
    here, in a second, and not by every worker."""
    encoder = params.network().encoder
    if not isinstance(encoder, EncoderConfig) or not encoder.face_points:
        return
    file = params.weight_files.face_landmarks
    try:
        load_face_mesh_weights(FaceMesh(), read_bundle_member(find_bundle(file), LANDMARKS_MEMBER))
    except (ValueError, OSError) as error:
        where = "" if file is None or str(file) in str(error) else f"{file}: "
        raise StageError(f"params.yaml: train.weight_files.face_landmarks: {where}{error}") from None


def say_what_is_left_out(params: TrainParams) -> None:
    """One line for every part that the settings or absent weights leave without effect."""
    files, weights = params.weight_files, params.training.weights
    if files.encoder is None:
        log.info("encoder: no weights named (train.weight_files.encoder), it starts from random values")
    if files.dinov2 is None:
        log.info("DINOv2: no weights named (train.weight_files.dinov2), no cross-attention and no DINOv2 loss")
    if files.lpips_backbone is None and weights.lpips > 0:
        log.info("LPIPS: no weights named (train.weight_files.lpips_*), the term is left out")
    regressor = params.network().regressor
    if params.appearance == "gaussians" and params.training.densify.every and regressor.gaussians_per_face == 1:
        log.info("densification: every face has one Gaussian and keeps it, so none will move (train.gaussians_per_face)")


def identify_run(params: TrainParams, manifest: Manifest) -> tuple[str, dict[str, Any]]:
    """Name of the run, and what it was made from."""
    identity = {
        "params": params.model_dump(mode="json"),
        "data_hash": manifest.data_hash,
        "code_hash": code_hash("pipeline.train"),
        "weight_files": {name: fingerprint_files(path) for name, path in params.weight_files.named().items()},
        "head_model": head_sha256(params.weight_files.head_model),
    }
    start = start_folder(params)
    if start is not None:
        identity["start"] = fingerprint_files(start)
    canonical = json.dumps(identity, sort_keys=True).encode("utf-8")
    return hashlib.sha256(canonical).hexdigest()[:16], identity


def _train(
    params: TrainParams, config: RunConfig, folder: Path, run_hash: str, num_workers: int, threads: int, use_gpu: bool
) -> None:
    """Runs the workers to the end, with a progress bar here. config: the run with its head model prepared."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # four seconds: only those who train wait for it
    import ray.train
    from ray.train.torch import TorchTrainer

    from pipeline.workers.train_worker import TrainJob, train_worker

    if params.workers.ray_address is None:
        ray.init(
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            num_cpus=max(cpu_count(), num_workers),
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    else:
        ray.init(address=params.workers.ray_address, log_to_driver=False)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "job": TrainJob(
                config=config,
                name=run_hash,
                folder=folder,
                project=Path.cwd(),
                threads=threads,
                loader_processes=params.workers.loader_processes,
                wandb_mode=params.wandb_mode,
            )
        },
        scaling_config=ray.train.ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=ray.train.FailureConfig(max_failures=params.workers.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        with follow_history(folder / HISTORY_NAME, params.training):
            trainer.fit()
    except Exception as error:
        raise _plain(error) from error
    finally:
        ray.shutdown()


def _plain(error: Exception) -> Exception:
    """A worker's own ValueError, OSError or FloatingPointError as a one-line StageError; anything else as it is."""
    failures = getattr(error, "worker_failures", None)
    cause = next(iter(failures.values()), None) if failures else None
    for known in ("ValueError", "FileNotFoundError", "OSError", "FloatingPointError"):
        if cause is not None and known in type(cause).__name__:
            return StageError(str(cause).strip().splitlines()[-1])
    return error


def _write_model(
    params: TrainParams,
    config: RunConfig,
    manifest: Manifest,
    folder: Path,
    identity: dict[str, Any],
    workers: dict[str, Any],
    seconds: float,
) -> None:
    """data/model from the last checkpoint's averaged weights, the history and the panels."""
    trained = TrainingRun.start(config)
    state = trained.state
    state.restore(_newest_checkpoint(folder) / CHECKPOINT_NAME)
    if state.step != params.training.total_steps:
        raise StageError(
            f"{folder}: training ended at step {state.step} of {params.training.total_steps}; run it again"
        )
    history = [json.loads(line) for line in (folder / HISTORY_NAME).read_text(encoding="utf-8").splitlines()]
    summary = identity | {
        "commit": git_commit(),
        "seed": params.training.seed,
        "steps": state.step,
        "skipped_steps": state.skipped,
        "seconds": round(seconds, 1),
        "images_per_second": {phase: round(speed, 1) for phase, speed in _mean_speed(history).items()},
        "train_clips": manifest.splits["train"].num_clips,
        "train_identities": len(manifest.splits["train"].identities),
        "workers": workers,
        "hardware": hardware(),
    }
    with atomic_directory(MODEL_DIR) as model_dir:
        trained.save_model(model_dir)
        shutil.copyfile(folder / HISTORY_NAME, model_dir / HISTORY_NAME)
        shutil.copytree(folder / PANELS_NAME, model_dir / PANELS_NAME)
        (model_dir / "train.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _newest_checkpoint(folder: Path) -> Path:
    """The checkpoint folder Ray committed last (its names sort by time)."""
    found = sorted(path for path in folder.glob("checkpoint_*") if path.is_dir())
    if not found:
        raise StageError(f"{folder}: training left no checkpoint")
    return found[-1]


def _mean_speed(history: list[dict[str, Any]]) -> dict[str, float]:
    """Images a second of each phase, over its records."""
    speeds: dict[str, list[float]] = {}
    for record in history:
        if record["kind"] == "training":
            speeds.setdefault(record["phase"], []).append(record["images_per_second"])
    return {phase: sum(values) / len(values) for phase, values in speeds.items()}


if __name__ == "__main__":
    sys.exit(stage_main("train", TrainParams, run))
