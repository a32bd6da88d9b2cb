"""One training worker, as Ray Train starts it: a run of the library, whose checkpoints go to Ray and whose figures to W&B."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray.train
import ray.train.torch
import torch

from pipeline.workers import prometheus
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import RunConfig
from sheap.training.loop import Worker
from sheap.training.run import RunData, TrainingRun
from sheap.training.run_folder import CHECKPOINT_NAME, RunFolder
from sheap.training.state import TrainingState


@dataclass(frozen=True)
class TrainJob:
    """What a worker is told. name: of the run; folder: where it gathers; project: the checkout's root."""

    config: RunConfig
    name: str
    folder: Path
    project: Path
    threads: int
    loader_processes: int
    wandb_mode: Literal["offline", "online", "disabled"]


def train_worker(settings: dict[str, TrainJob]) -> None:
    """What every worker runs. settings: `job` alone."""
    job = settings["job"]
    os.chdir(job.project)
    torch.set_num_threads(job.threads)
    context = ray.train.get_context()
    worker = Worker(
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        device=ray.train.torch.get_device(),
        loader_processes=job.loader_processes,
    )
    run = TrainingRun.start(job.config, worker)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            run.state.restore(Path(folder) / CHECKPOINT_NAME)
    data = RunData.open(job.config)
    reporter = RunReporter(job, run, data) if worker.rank == 0 else FollowingReporter()
    run.train(data, reporter)
    reporter.close()


class FollowingReporter:
    """Of the workers that are not the first: they take part in checkpoints, and that is all."""

    def logged(self, record: dict[str, Any]) -> None: ...

    def panels(self, step: int, network: SheapNetwork) -> None: ...

    def checkpoint(self, state: TrainingState) -> None:
        """Every worker must report for Ray to commit."""
        ray.train.report({"step": state.step})

    def close(self) -> None: ...


class RunReporter:
    """Of the first worker: writes the run's folder, tells W&B, hands checkpoints to Ray."""

    def __init__(self, job: TrainJob, run: TrainingRun, data: RunData) -> None:
        self._folder = RunFolder(job.folder, run.models, data.panel_pairs, run.state.step)
        self._staging = job.folder / "staging"
        self._wandb = _start_wandb(job)
        self._prometheus = job.folder / prometheus.FILE_NAME
        self._name, self._last = job.name, dict[str, dict[str, Any]]()

    def logged(self, record: dict[str, Any]) -> None:
        """One line of history.jsonl, one W&B step, and the figures that Prometheus reads."""
        self._folder.logged(record)
        self._last[record["kind"]] = record
        prometheus.write_prometheus(self._prometheus, self._name, self._last)
        if self._wandb is not None:
            numbers = {k: v for k, v in record.items() if isinstance(v, (int, float)) and k != "step"}
            self._wandb.log(
                {f"{record['kind']}/{name}": value for name, value in numbers.items()} | {"step": record["step"]}
            )

    def panels(self, step: int, network: SheapNetwork) -> None:
        """PNG panels of training and held-out pairs."""
        drawn = self._folder.draw(step, network)
        if self._wandb is not None:
            import wandb

            for split, picture in drawn.items():
                self._wandb.log({f"panels/{split}": wandb.Image(picture), "step": step})

    def checkpoint(self, state: TrainingState) -> None:
        """Hands the state to Ray, which copies and commits it."""
        self._staging.mkdir(exist_ok=True)
        state.save(self._staging / CHECKPOINT_NAME)
        ray.train.report({"step": state.step}, checkpoint=ray.train.Checkpoint.from_directory(str(self._staging)))

    def close(self) -> None:
        """Ends the W&B run."""
        if self._wandb is not None:
            self._wandb.finish()


def _start_wandb(job: TrainJob) -> Any:
    """The W&B run, all of whose files stay in the project; None when disabled."""
    if job.wandb_mode == "disabled":
        return None
    folder = job.project / ".sheap" / "wandb"
    for variable, name in (
        ("WANDB_DIR", "runs"), ("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache"), ("WANDB_CONFIG_DIR", "config"),
    ):  # fmt: skip
        os.environ[variable] = str(folder / name)
        (folder / name).mkdir(parents=True, exist_ok=True)
    os.environ["DO_NOT_TRACK"] = "1"
    import wandb

    run = wandb.init(
        project="sheap",
        id=job.name,
        name=f"{job.config.preset}-{job.name[:8]}",
        mode=job.wandb_mode,
        resume="allow",
        config=job.config.model_dump(mode="json"),
        settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
    )
    run.define_metric("*", step_metric="step")
    return run
