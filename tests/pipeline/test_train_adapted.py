"""The train stage after an adaptation: what it writes, and what it says of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.files.trained_model import read_adaptation
from pipeline.run.settings import StageError
from pipeline.train import TrainParams, _write_model
from sheap.bundle import WEIGHTS_NAME
from sheap.data.manifest import Manifest
from sheap.training import loop
from sheap.training.run import RunData, TrainingRun
from sheap.training.run_folder import CHECKPOINT_NAME, RunFolder
from sheap.training.start import predicting_parameters
from tests.training.test_run import ADAPTING, PROJECT, SHORT, made_run_config, write_mixed_shards


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, and a model folder to begin from."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("project")
    write_mixed_shards(folder / "shards")
    (folder / "start").mkdir()
    TrainingRun.start(made_run_config(**{"training.seed": 5})).save_model(folder / "start")
    return folder


def adapted(project: Path, folder: Path, **changes: object) -> TrainParams:
    """Trains as the stage's worker does; the checkpoint lies where Ray would have put it."""
    settings = yaml.safe_load((PROJECT / "params.yaml").read_text())["train"]
    own = {"start_from": project / "start", "data.shards": str(project / "shards")}
    params = TrainParams.model_validate(settings).changed(SHORT | ADAPTING | own | changes)
    data, run = RunData.open(params), TrainingRun.start(params)
    run.train(data, RunFolder(folder, run.models, data.panel_pairs))
    (folder / "checkpoint_1").mkdir()
    (folder / CHECKPOINT_NAME).rename(folder / "checkpoint_1" / CHECKPOINT_NAME)
    return params


def write(project: Path, params: TrainParams, folder: Path) -> dict:
    identity = {"params": params.model_dump(mode="json")}
    _write_model(params, params, Manifest.read(project / "shards"), folder, identity, {"seconds": 1.0, "workers": {}})
    return json.loads(Path("data/model/train.json").read_text())


def test_where_adapting_did_not_help_the_start_is_saved_and_one_line_says_so(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every validation after the hold finds something worse, so the second one ends the run before its last step."""
    monkeypatch.chdir(tmp_path)
    validate = loop.validate

    def worse(*arguments: object) -> dict:
        record = validate(*arguments)
        return record | {"truth_shape": 1.0 + record["step"]}

    monkeypatch.setattr(loop, "validate", worse)
    stop = {"patience": 2, "judged_by": ["landmarks", "truth_shape"]}
    params = adapted(project, tmp_path / "run", **{"training.early_stop": stop, "training.rendered_phase.steps": 6})
    with caplog.at_level(logging.INFO):
        summary = write(project, params, tmp_path / "run")
    assert summary["steps"] == 4
    said = (
        "Adapting did not help: 2 clips of 2 people (beside 1 rendered person, replayed), none of 2 validations on held-out "
        "pairs better than the start, so the saved model is the start."
    )
    assert said in caplog.text
    adaptation = read_adaptation(Path("data/model"))
    assert adaptation is not None and adaptation.sentence() == said and adaptation.start_name == "start"
    assert adaptation.judgement is not None and adaptation.judgement.best_step == 2
    saved, start = load_file(Path("data/model") / WEIGHTS_NAME), load_file(project / "start" / WEIGHTS_NAME)
    names = predicting_parameters(TrainingRun.start(made_run_config()).models.network)
    assert len(names) > 20 and all(torch.equal(saved[name], start[name]) for name in names)


def test_what_helped_is_saved_with_its_gain(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    validate = loop.validate

    def better(*arguments: object) -> dict:
        record = validate(*arguments)
        return record | {"landmarks": 1.0, "truth_shape": {0: 1.0, 1: 1.0, 2: 1.0, 3: 0.8, 4: 0.9}[record["step"]]}

    monkeypatch.setattr(loop, "validate", better)
    params = adapted(project, tmp_path / "run")
    summary = write(project, params, tmp_path / "run")
    adaptation = read_adaptation(Path("data/model"))
    assert summary["steps"] == 4 and adaptation is not None and adaptation.judgement is not None
    assert adaptation.judgement.ratios == {"landmarks": 1.0, "truth_shape": 0.8} and adaptation.judgement.best_step == 3
    assert "best at step 3 of 4 (landmarks +0.0 %, true identity error -20.0 % against the start)" in adaptation.sentence()


def test_a_run_from_random_values_has_adapted_nothing(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = adapted(project, tmp_path / "run", start_from=None, **{"training.early_stop": None})
    assert write(project, params, tmp_path / "run")["adaptation"] is None
    assert read_adaptation(Path("data/model")) is None and read_adaptation(tmp_path / "nowhere") is None


def test_a_run_that_did_not_end_is_no_model(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = adapted(project, tmp_path / "run")
    longer = params.changed({"training.rendered_phase.steps": 9})
    with pytest.raises(StageError, match="training ended at step 4 of 9; run it again"):
        write(project, longer, tmp_path / "run")


def test_a_broken_account_of_an_adaptation_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps({"params": {}, "adaptation": {"start": "shipped"}}))
    with pytest.raises(ValueError, match=r"train\.json: adaptation: "):
        read_adaptation(tmp_path)
