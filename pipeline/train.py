"""Stage `train`: training inside Ray Train, from random values or from a predictor; writes data/model.

Ray is started and ended here. Checkpoints, history and panels gather under .sheap/checkpoints/HASH, where HASH is of
everything that decides the result (settings, data, code, weight files): the same command after a kill goes on from there,
and a setting that changes the result never meets another run's checkpoints. A finished run's last checkpoint stays until DVC
has recorded the model, so that a kill in between costs no training.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from pipeline.files.adaptation import Adaptation, Judgement
from pipeline.files.head_files import prepared_head
from pipeline.run.champions import champion, fetch_registered
from pipeline.run.code_dependencies import code_hash
from pipeline.run.compilers import require_compiler
from pipeline.run.provenance import fingerprint_files, git_commit, hardware
from pipeline.run.settings import StageError, StageParams, read_params_file
from pipeline.run.stage import NO_SPACE, STATE_DIR, atomic_directory, cpu_count, full_disk, require_input, stage_main
from pipeline.workers.finished_runs import forget_recorded, note_made_model, read_finished, write_finished
from pipeline.workers.local_ray import restart_at_plain_path
from pipeline.workers.ray_cluster import ray_cluster
from pipeline.workers.train_progress import follow_history
from sheap.data.addresses import read_manifest
from sheap.data.manifest import Manifest
from sheap.data.remote import is_address
from sheap.files import FULL_DISK, write_json
from sheap.head.door import head_sha256
from sheap.networks.config import EncoderConfig
from sheap.networks.face_mesh import FaceMesh
from sheap.networks.face_mesh_weights import load_face_mesh_weights
from sheap.precision import resolve_precision
from sheap.training.config import RunConfig
from sheap.training.corpus_counts import CorpusCounts
from sheap.training.run import TrainingRun, split_reader, start_folder
from sheap.training.run_folder import CHECKPOINT_NAME, HISTORY_NAME, PANELS_NAME
from sheap.training.state import TrainingState
from sheap.video.face_models import LANDMARKS_MEMBER, find_bundle, read_bundle_member

MODEL_DIR = Path("data/model")
CHECKPOINTS_DIR = STATE_DIR / "checkpoints"

NOT_DECIDING = (
    "workers", "wandb_mode", "panel_pairs", "weight_files", "start_from", "data.shards", "data.cache_dir", "data.frame_cache_mb",
    "training.log_every", "training.panels_every", "training.checkpoint_every",
)  # fmt: skip
"""Settings that may change between a kill and the command that goes on."""

CHAMPION = "champion"

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

    start_from: Literal["shipped", "champion"] | Path | None  # type: ignore[assignment]
    """Beside the library's answers: champion, the registered model that holds the stage `champion` when training begins."""
    workers: WorkerParams
    wandb_mode: Literal["offline", "online", "disabled"]

    def run_config(self) -> RunConfig:
        """The run alone, as the library takes it."""
        return RunConfig.model_validate({name: getattr(self, name) for name in RunConfig.model_fields})

    def with_champion(self) -> TrainParams:
        """The same with the present champion's folder where the settings say `champion`, so that it is one for the whole run."""
        return self.model_copy(update={"start_from": champion_folder()}) if self.start_from == CHAMPION else self


def champion_folder() -> Path:
    """The bundle of the model that `promote.stage` marks. Raises StageError where there is none."""
    stage = read_params_file().get("promote", {}).get("stage", CHAMPION)
    present = champion(stage)
    if present is None:
        raise StageError(
            "params.yaml: train.start_from: champion, but no version holds that stage yet (sheap promote); "
            "set it to shipped, a model folder or null for the first one"
        )
    return fetch_registered(present.version)


def run(params: TrainParams) -> None:
    """Reads the shards (`data.shards`), writes data/model."""
    manifest = read_manifest(_shards(params))
    params = params.with_champion()
    for name, path in params.weight_files.named().items():
        if not path.exists():
            raise StageError(f"params.yaml: train.weight_files.{name}: {path} does not exist")
    check_face_landmarks(params)
    num_workers, threads, use_gpu = resolve_workers(params.workers)
    try:
        params.require_shares(num_workers)
    except ValueError as error:
        raise StageError(f"params.yaml: train.{error}; change either (train.workers.num_workers)") from None
    if params.training.compile:
        require_compiler("train.training.compile", "cuda" if use_gpu else "cpu")
    say_what_is_left_out(params)
    run_hash, identity = identify_run(params, manifest)
    checkpoints = CHECKPOINTS_DIR.resolve()
    folder = checkpoints / run_hash
    forget_recorded(checkpoints, keep=folder)
    config = params.run_config().changed({"weight_files.head_model": prepared_head(params.weight_files.head_model)})
    finished = read_finished(folder)
    if finished is None:
        finished = _finish(params, config, folder, run_hash, num_workers, threads, use_gpu)
    else:
        log.info("this training had ended before DVC recorded its model, which is made again from the last checkpoint")
    _write_model(params, config, manifest, folder, identity | {"run": run_hash}, finished)
    note_made_model(folder, MODEL_DIR)


def _finish(
    params: TrainParams, config: RunConfig, folder: Path, run_hash: str, num_workers: int, threads: int, use_gpu: bool
) -> dict[str, Any]:
    """Trains to the end, and notes in the run's folder that it came there and how."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.time()
    _train(params, config, folder, run_hash, num_workers, threads, use_gpu)
    precision = resolve_precision(params.training.precision, "cuda" if use_gpu else "cpu")
    workers = {
        "num_workers": num_workers, "threads_per_worker": threads, "use_gpu": use_gpu,
        "precision": str(precision).removeprefix("torch."),
    }  # fmt: skip
    facts = {"seconds": round(time.time() - started, 1), "workers": workers, "commit": git_commit(), "hardware": hardware()}
    return write_finished(folder, facts)


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
    if files.encoder is None and params.start_from is None:
        log.info("encoder: no weights named (train.weight_files.encoder), it starts from random values")
    if files.dinov2 is None:
        log.info("DINOv2: no weights named (train.weight_files.dinov2), no cross-attention and no DINOv2 loss")
    if files.lpips_backbone is None and weights.lpips > 0:
        log.info("LPIPS: no weights named (train.weight_files.lpips_*), the term is left out")
    if params.start_from is None and (weights.near_start > 0 or params.training.hold_start > 0):
        log.info("start: random values (train.start_from), nothing to stay near (near_start) or to hold (hold_start)")
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
    canonical = json.dumps(identity | {"params": deciding_params(params)}, sort_keys=True).encode("utf-8")
    return hashlib.sha256(canonical).hexdigest()[:16], identity


def deciding_params(params: TrainParams) -> dict[str, Any]:
    """The settings that decide the result: not who computes it, how often it is reported and kept, or where files lie (what is
    in those counts, by their hashes). More workers change the rounding of sums, as another machine does."""
    document = params.model_dump(mode="json")
    for dotted in NOT_DECIDING:
        *parents, last = dotted.split(".")
        place = document
        for name in parents:
            place = place[name]
        del place[last]
    return document


def _train(
    params: TrainParams, config: RunConfig, folder: Path, run_hash: str, num_workers: int, threads: int, use_gpu: bool
) -> None:
    """Runs the workers to the end, with a progress bar here. config: the run with its head model prepared."""
    with ray_cluster(params.workers.ray_address, max(cpu_count(), num_workers), "train.workers.ray_address"):
        _fit(params, config, folder, run_hash, num_workers, threads, use_gpu)


def _fit(
    params: TrainParams, config: RunConfig, folder: Path, run_hash: str, num_workers: int, threads: int, use_gpu: bool
) -> None:
    """The same on the cluster that was joined."""
    import ray.train  # four seconds: only those who train wait for it
    from ray.train.torch import TorchTrainer

    from pipeline.workers.train_worker import TrainJob, train_worker

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
        # ray.train declares each of its configurations twice, as version 1 and as version 2 of Ray Train has it.
        scaling_config=ray.train.ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),  # pyrefly: ignore[bad-argument-type]
        run_config=ray.train.RunConfig(  # pyrefly: ignore[bad-argument-type]
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=ray.train.FailureConfig(max_failures=params.workers.max_failures),  # pyrefly: ignore[bad-argument-type]
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),  # pyrefly: ignore[bad-argument-type]
        ),
    )
    try:
        with follow_history(folder / HISTORY_NAME, params.training):
            trainer.fit()
    except Exception as error:
        raise _plain(error, folder) from error


def _plain(error: Exception, folder: Path) -> Exception:
    """A worker's own ValueError, OSError or FloatingPointError, or a full disk, as a one-line StageError; anything else as it
    is."""
    failures = getattr(error, "worker_failures", None)
    said = [str(one) for one in (error, *(failures or {}).values())]
    if any(full in text for text in said for full in (NO_SPACE, FULL_DISK)):
        return StageError(full_disk(folder))
    cause = next(iter(failures.values()), None) if failures else None
    for known in ("ValueError", "FileNotFoundError", "OSError", "NotWritten", "FloatingPointError"):
        if cause is not None and known in type(cause).__name__:
            return StageError(str(cause).strip().splitlines()[-1])
    return error


def _write_model(
    params: TrainParams,
    config: RunConfig,
    manifest: Manifest,
    folder: Path,
    identity: dict[str, Any],
    finished: dict[str, Any],
) -> None:
    """data/model from the last checkpoint's averaged weights (the best, where training stops early), history and panels."""
    trained = TrainingRun.start(config)
    state = trained.state
    state.restore(_newest_checkpoint(folder) / CHECKPOINT_NAME)
    if not state.has_ended(params.training):
        raise StageError(
            f"{folder}: training ended at step {state.step} of {params.training.total_steps}; run it again"
        )
    adaptation = describe_adaptation(params, state, manifest)
    history = [json.loads(line) for line in (folder / HISTORY_NAME).read_text(encoding="utf-8").splitlines()]
    summary = identity | {
        "seed": params.training.seed,
        "steps": state.step,
        "skipped_steps": state.skipped,
        **finished,
        "images_per_second": {phase: round(speed, 1) for phase, speed in _mean_speed(history).items()},
        "train_clips": manifest.splits["train"].num_clips,
        "train_identities": len(manifest.splits["train"].identities),
        "adaptation": None if adaptation is None else adaptation.model_dump(),
    }
    if adaptation is not None:
        log.info("%s", adaptation.sentence())
    with atomic_directory(MODEL_DIR) as model_dir:
        trained.save_model(model_dir)
        shutil.copyfile(folder / HISTORY_NAME, model_dir / HISTORY_NAME)
        shutil.copytree(folder / PANELS_NAME, model_dir / PANELS_NAME)
        write_json(model_dir / "train.json", summary, indent=2)


def describe_adaptation(params: TrainParams, state: TrainingState, manifest: Manifest) -> Adaptation | None:
    """What became of the predictor that training began from; None where it began from random values."""
    if params.start_from is None:
        return None
    if params.data.reading == "streaming":
        counts = CorpusCounts.of_manifest(manifest)
    else:
        readers = {str(name): split_reader(params.data.shards, name, params, verify_hashes=False) for name in manifest.splits}
        counts = CorpusCounts.of_readers(readers, is_replaying=params.replay.share > 0)
    best, judgement = state.best, None
    if best is not None:
        ratios = {name: best.figures[name] / best.start[name] for name in best.start if best.start[name] > 0}
        judgement = Judgement(kept_start=best.is_start, best_step=best.step, validations=best.validations, ratios=ratios)
    return Adaptation(
        start=str(params.start_from),
        steps=state.step,
        clips=counts.clips,
        people=counts.people,
        replayed_people=counts.replayed_people,
        own_held_out=counts.own_held_out,
        judgement=judgement,
    )


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


def main() -> int:
    """The stage program."""
    try:
        restart_at_plain_path()
    except StageError as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 2
    return stage_main("train", TrainParams, run)


if __name__ == "__main__":
    sys.exit(main())
