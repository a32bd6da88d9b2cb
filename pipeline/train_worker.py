"""One training worker, as Ray Train starts it: builds everything, trains, reports checkpoints, history and panels."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray.train
import ray.train.torch
import torch

from pipeline.train import SHARDS_DIR, TrainParams
from sheap.data.augment import AugmentParams
from sheap.data.pairs import PairBatch, PairDataset, collate
from sheap.data.reader import ShardReader
from sheap.geometry.cameras import published_camera
from sheap.head import HeadModel
from sheap.losses.lpips import Lpips
from sheap.networks.dinov2 import Dinov2Features
from sheap.networks.encoder_weights import load_encoder_weights
from sheap.networks.face_mesh_weights import load_face_mesh_weights
from sheap.networks.sheap_network import SheapNetwork, start_translation_for
from sheap.precision import resolve_precision, set_compute_dtype
from sheap.training.compilation import compile_encoder
from sheap.training.landmark_head import landmark_head
from sheap.training.loop import Worker, run_training
from sheap.training.panels import draw_panel
from sheap.training.state import TrainingState
from sheap.training.step import Models
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM
from sheap.video.face_models import LANDMARKS_MEMBER, find_bundle, read_bundle_member

CHECKPOINT_NAME = "state.pt"


def train_worker(job: dict[str, Any]) -> None:
    """What every worker runs. job: `params` (JSON of TrainParams), `folder` of the run, `project` root, `run`, `threads`."""
    os.chdir(job["project"])
    torch.set_num_threads(job["threads"])
    params = TrainParams.model_validate_json(job["params"])
    context = ray.train.get_context()
    worker = Worker(
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        device=ray.train.torch.get_device(),
        loader_processes=params.workers.loader_processes,
    )
    models = build_models(params, worker.device)
    if params.training.compile:
        compile_encoder(models.network)
    state = TrainingState.start(models.network, params.training)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state.restore(Path(folder) / CHECKPOINT_NAME)

    readers = {split: ShardReader(folder) for split in ("train", "val") if (folder := SHARDS_DIR / split).is_dir()}
    image_size = params.network().encoder.image_size

    def make_dataset(num_samples: int, seed: int) -> PairDataset:
        return pair_dataset(readers["train"], params, num_samples, seed)

    held_out = readers.get("val")
    validation = [] if held_out is None else fixed_batches(held_out, params.validation_pairs, image_size)
    panel_batches = {name: panel_batch(reader, params.panel_pairs, image_size) for name, reader in readers.items()}
    reporter = RunReporter(params, job, models, panel_batches, state.step, is_first=worker.rank == 0)
    run_training(models, state, params.training, make_dataset, validation, worker, reporter)
    reporter.close()


def build_models(params: TrainParams, device: torch.device) -> Models:
    """The network before its first step, and the frozen ones for which weights are named. Seeded: the same everywhere."""
    files = params.weight_files
    config = params.network()
    torch.manual_seed(params.training.seed)
    cameras = published_camera(config.encoder.image_size)
    head = HeadModel.load(files.head_model)
    dinov2 = None if files.dinov2 is None else Dinov2Features(files.dinov2)
    lpips = None
    if files.lpips_backbone is not None and files.lpips_linear is not None:
        lpips = Lpips(files.lpips_backbone, files.lpips_linear)
    network = SheapNetwork(
        config,
        head,
        start_translation=start_translation_for(cameras, CROP_SIDE_CM / 100, CROP_RISE_CM / 100),
        image_feature_size=None if dinov2 is None else dinov2.size,
        illumination_prior=files.illumination_prior,
    )
    if config.encoder.face_points:
        face_mesh = read_bundle_member(find_bundle(files.face_landmarks), LANDMARKS_MEMBER)
        load_face_mesh_weights(network.encoder.face_points.face_mesh, face_mesh)
    if files.encoder is not None:
        load_encoder_weights(network.encoder, files.encoder)
    set_compute_dtype([network, dinov2, lpips], resolve_precision(params.training.precision, device.type))
    return Models(
        network.to(device),
        landmark_head(head).to(device),
        cameras.to(device),
        None if dinov2 is None else dinov2.to(device),
        None if lpips is None else lpips.to(device),
    )


def pair_dataset(reader: ShardReader, params: TrainParams, num_samples: int, seed: int) -> PairDataset:
    """The training pairs that the params ask for."""
    return PairDataset(
        reader,
        num_samples=num_samples,
        seed=seed,
        gap=(params.pairs.least_gap, params.pairs.greatest_gap),
        across_clips=params.pairs.across_clips,
        augment=AugmentParams() if params.pairs.augment else None,
        image_size=params.network().encoder.image_size,
    )


def fixed_batches(reader: ShardReader, num_pairs: int, image_size: int, batch_size: int = 8) -> list[PairBatch]:
    """The same held-out pairs every time, unaugmented, clip after clip."""
    dataset = PairDataset(reader, num_samples=num_pairs, seed=0, image_size=image_size)
    samples = [dataset[k] for k in range(num_pairs)]
    return [collate(samples[k : k + batch_size]) for k in range(0, num_pairs, batch_size)]


def panel_batch(reader: ShardReader, num_pairs: int, image_size: int) -> PairBatch:
    """One pair from each of `num_pairs` clips, taken in turn from every origin, so that real footage is seen beside rendered."""
    by_origin: dict[str, list[int]] = {}
    for number in range(len(reader)):
        by_origin.setdefault(reader.record(number).origin, []).append(number)
    turns = max(len(numbers) for numbers in by_origin.values())
    chosen = [numbers[turn] for turn in range(turns) for numbers in by_origin.values() if turn < len(numbers)][
        :num_pairs
    ]
    # One epoch holds every clip once, in a shuffled order.
    dataset = PairDataset(reader, num_samples=len(reader), seed=1, image_size=image_size)
    place_of_clip = {dataset.draw(k, np.random.default_rng([1, k]))[0]: k for k in range(len(reader))}
    return collate([dataset[place_of_clip[number]] for number in chosen])


class RunReporter:
    """Writes history, panels and W&B on the first worker; reports checkpoints to Ray on all of them."""

    def __init__(
        self,
        params: TrainParams,
        job: dict[str, Any],
        models: Models,
        panel_batches: dict[str, PairBatch],
        start_step: int,
        *,
        is_first: bool,
    ) -> None:
        self._folder = Path(job["folder"])
        self._models, self._panel_batches, self._is_first = models, panel_batches, is_first
        self._history = self._folder / "history.jsonl"
        self._wandb = None
        if is_first:
            (self._folder / "panels").mkdir(parents=True, exist_ok=True)
            _cut_history(self._history, start_step)
            self._wandb = _start_wandb(params, job)

    def logged(self, record: dict[str, Any]) -> None:
        """One line of history.jsonl and one W&B step."""
        if not self._is_first:
            return
        with self._history.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        if self._wandb is not None:
            numbers = {k: v for k, v in record.items() if isinstance(v, (int, float)) and k != "step"}
            self._wandb.log(
                {f"{record['kind']}/{name}": value for name, value in numbers.items()} | {"step": record["step"]}
            )

    def panels(self, step: int, network: SheapNetwork) -> None:
        """PNG panels of training and held-out pairs."""
        if not self._is_first:
            return
        for split, batch in self._panel_batches.items():
            picture = draw_panel(self._models, network, batch.to(self._models.cameras.K.device))
            path = self._folder / "panels" / f"{split}-{step:07d}.png"
            encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
            path.write_bytes(encoded.tobytes())
            if self._wandb is not None:
                import wandb

                self._wandb.log({f"panels/{split}": wandb.Image(picture), "step": step})

    def checkpoint(self, state: TrainingState) -> None:
        """Hands the state to Ray, which commits it; every worker must take part."""
        if not self._is_first:
            ray.train.report({"step": state.step})
            return
        staging = self._folder / "staging"
        staging.mkdir(exist_ok=True)
        state.save(staging / CHECKPOINT_NAME)
        ray.train.report({"step": state.step}, checkpoint=ray.train.Checkpoint.from_directory(str(staging)))

    def close(self) -> None:
        """Ends the W&B run."""
        if self._wandb is not None:
            self._wandb.finish()


def _cut_history(path: Path, step: int) -> None:
    """Drops what was logged after the checkpoint that training goes on from: those steps come again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # a line cut off by a kill is the last one
        if record["step"] <= step:
            kept.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)


def _start_wandb(params: TrainParams, job: dict[str, Any]) -> Any:
    """The W&B run, all of whose files stay in the project; None when disabled."""
    if params.wandb_mode == "disabled":
        return None
    folder = Path(job["project"]) / ".sheap" / "wandb"
    for variable, name in (
        ("WANDB_DIR", "runs"), ("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache"), ("WANDB_CONFIG_DIR", "config"),
    ):  # fmt: skip
        os.environ[variable] = str(folder / name)
        (folder / name).mkdir(parents=True, exist_ok=True)
    os.environ["DO_NOT_TRACK"] = "1"
    import wandb

    run = wandb.init(
        project="sheap",
        id=job["run"],
        name=f"{params.preset}-{job['run'][:8]}",
        mode=params.wandb_mode,
        resume="allow",
        config=params.model_dump(mode="json"),
        settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
    )
    run.define_metric("*", step_metric="step")
    return run
