"""Training inside Ray: what the first worker reports, and a stage whose worker dies and is started again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.train import TrainParams, run
from pipeline.workers import train_worker as module
from pipeline.workers.train_worker import FollowingReporter, RunReporter, TrainJob
from sheap.bundle import WEIGHTS_NAME
from sheap.training.loop import MEASURED
from sheap.training.run import RunData, TrainingRun
from sheap.training.run_folder import CHECKPOINT_NAME, HISTORY_NAME, RunFolder
from tests.training.test_run import PROJECT, SHORT, made_run_config, write_shards


class Reported:
    """Stands in for ray.train.report and for a W&B run."""

    def __init__(self) -> None:
        self.reports: list[tuple[dict[str, Any], Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.is_finished = False

    def report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        content = None if checkpoint is None else torch.load(Path(checkpoint.path) / CHECKPOINT_NAME, weights_only=True)
        self.reports.append((metrics, content))

    def log(self, record: dict[str, Any]) -> None:
        self.logged.append(record)

    def finish(self) -> None:
        self.is_finished = True


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Reported:
    stand_in = Reported()
    monkeypatch.setattr("ray.train.report", stand_in.report)
    monkeypatch.setattr(module, "_start_wandb", lambda job: stand_in)
    return stand_in


def test_the_first_worker_writes_tells_wandb_and_hands_its_checkpoints_to_ray(reported: Reported, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = made_run_config()
    data = RunData.open(config, write_shards(tmp_path / "shards"))
    trained = TrainingRun.start(config)
    job = TrainJob(config, "name", tmp_path / "run", tmp_path, 1, 0, "offline")
    reporter = RunReporter(job, trained, data)
    trained.train(data, reporter)
    reporter.close()

    assert [metrics["step"] for metrics, _ in reported.reports] == [1, 2, 3, 4]
    for (name, kept), value in zip(
        reported.reports[-1][1]["network"].items(), trained.state.network.state_dict().values(), strict=True
    ):
        assert torch.equal(kept, value), name
    records = [json.loads(line) for line in (tmp_path / "run" / HISTORY_NAME).read_text().splitlines()]
    figures = [entry for entry in reported.logged if not any(key.startswith("panels/") for key in entry)]
    assert len(records) == len(figures) == 6
    for record, entry in zip(records, figures, strict=True):
        assert entry["step"] == record["step"] and entry[f"{record['kind']}/loss"] == record["loss"]
        assert "training/phase" not in entry and "training/kind" not in entry
    drawn = [entry for entry in reported.logged if any(key.startswith("panels/") for key in entry)]
    assert [entry["step"] for entry in drawn] == [2, 2, 4, 4] and {key for entry in drawn for key in entry} == {
        "step", "panels/train", "panels/val",
    }  # fmt: skip
    assert reported.is_finished


def test_other_workers_only_take_part_in_checkpoints(reported: Reported) -> None:
    trained, reporter = TrainingRun.start(made_run_config()), FollowingReporter()
    reporter.logged({"kind": "training"})
    reporter.panels(1, trained.models.network)
    reporter.checkpoint(trained.state)
    reporter.close()
    assert reported.reports == [({"step": 0}, None)] and not reported.logged


@pytest.mark.slow
@pytest.mark.timeout(900)  # Ray starts three times as slowly on a machine that does other things
def test_a_stage_whose_worker_dies_goes_on_from_rays_checkpoint_and_ends_as_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own start, retry and resumption. The worker dies before its third checkpoint; Ray has the first or the second."""
    torch.set_num_threads(1)
    write_shards(tmp_path / "data" / "shards")
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load((PROJECT / "params.yaml").read_text())["train"]
    params = TrainParams.model_validate(settings).changed(
        SHORT | {"wandb_mode": "disabled", "workers.threads_per_worker": 1, "workers.num_workers": 1, "workers.max_failures": 1}
    )
    notes, works = tmp_path / "attempts.txt", module.train_worker

    def dies_once(job: dict[str, TrainJob]) -> None:
        import ray.train

        from pipeline.workers.train_worker import RunReporter

        is_first, checkpoint = not notes.exists(), RunReporter.checkpoint

        def until_the_third(self: RunReporter, state: Any) -> None:
            if is_first and state.step == 3:
                os._exit(1)
            checkpoint(self, state)

        RunReporter.checkpoint = until_the_third  # type: ignore[method-assign]
        with notes.open("a") as stream:
            stream.write(f"{ray.train.get_checkpoint() is not None}\n")
        works(job)

    monkeypatch.setattr(module, "train_worker", dies_once)
    run(params)
    assert notes.read_text().split() == ["False", "True"], "one death, and one start from a checkpoint"

    config = made_run_config()
    data, alone = RunData.open(config, tmp_path / "data" / "shards"), TrainingRun.start(config)
    alone.train(data, RunFolder(tmp_path / "alone", alone.models, data.panel_pairs))
    weights = load_file(tmp_path / "data" / "model" / WEIGHTS_NAME)
    for name, value in alone.state.average.network.state_dict().items():
        assert torch.equal(weights[name], value), name
    histories = [
        [json.loads(line) for line in (folder / HISTORY_NAME).read_text().splitlines()]
        for folder in (tmp_path / "data" / "model", tmp_path / "alone")
    ]
    for record in histories[0] + histories[1]:
        for measured in MEASURED:
            record.pop(measured, None)
    assert histories[0] == histories[1]
    summary = json.loads((tmp_path / "data" / "model" / "train.json").read_text())
    assert summary["steps"] == 4 and summary["train_clips"] == 3 and summary["workers"]["num_workers"] == 1
    assert np.isfinite(summary["images_per_second"]["landmarks"])
    [kept] = (tmp_path / ".sheap" / "checkpoints").iterdir()
    # Beside them lies Ray's own checkpoint_manager_snapshot.json.
    checkpoints = [path for path in kept.glob("checkpoint_*") if path.is_dir()]
    assert len(checkpoints) == 1, "until DVC has recorded the model"
