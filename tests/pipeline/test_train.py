"""The train stage around the loop: settings, run names, history, what the driver shows."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.run.champions import Assignment
from pipeline.run.code_dependencies import code_hash
from pipeline.run.provenance import fingerprint_files, hardware
from pipeline.run.settings import StageError, load_params
from pipeline.train import TrainParams, identify_run, resolve_workers, run, say_what_is_left_out
from pipeline.workers.train_progress import describe, follow_history, last_training_record
from sheap.bundle import SHIPPED_MODEL, read_bundle_config
from sheap.data.manifest import Manifest, SplitInfo
from sheap.training.config import RunConfig
from sheap.training.run import RunData, TrainingRun
from sheap.training.run_folder import CHECKPOINT_NAME, RunFolder
from tests.training.test_run import SHORT, write_shards

PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return yaml.safe_load(PARAMS_FILE.read_text())["train"]


def changed(settings: dict[str, Any], **changes: Any) -> TrainParams:
    """The demo's settings with some changed, by dotted name with __ for dots."""
    document = json.loads(json.dumps(settings))
    for name, value in changes.items():
        *path, last = name.split("__")
        place = document
        for part in path:
            place = place[part]
        place[last] = value
    return TrainParams.model_validate(document)


def manifest() -> Manifest:
    split = SplitInfo(shards=[], index_sha256="0" * 64, num_clips=1, num_frames=2, identities=["a"])
    return Manifest(image_size=32, splits={"train": split}).sealed()


def test_the_demo_settings_are_valid() -> None:
    params = load_params("train", TrainParams, PARAMS_FILE)
    assert params.preset == "compact" and params.start_from == "shipped" and params.training.total_steps > 0
    assert read_bundle_config(SHIPPED_MODEL).network.encoder == params.network().encoder, "the demo begins with it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training__rendered_phase__rendered_pairs": 99}, "rendered_pairs 99 is more than batch_size"),
        ({"training__landmark_phase__rendered_pairs": 1}, "it must be 0"),
        ({"weight_files__lpips_linear": "x.pth"}, "go together"),
        ({"training__weights__normals": -1}, "greater than or equal to 0"),
        ({"training__weights__sparkle": 1}, "Extra inputs"),
        ({"training__landmark_phase__steps": 0, "training__rendered_phase__steps": 0}, "nothing to train"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(settings, **change)


def test_a_run_is_named_by_settings_and_data_and_nothing_else(settings: dict[str, Any]) -> None:
    name, identity = identify_run(changed(settings), manifest())
    assert identify_run(changed(settings), manifest())[0] == name
    assert identify_run(changed(settings, training__seed=12345), manifest())[0] != name
    other_data = manifest().model_copy(update={"data_hash": "1" * 64})
    assert identify_run(changed(settings), other_data)[0] != name
    assert identity["code_hash"] == code_hash("pipeline.train")


@pytest.mark.parametrize(
    "change",
    [
        {"workers__num_workers": 2}, {"workers__loader_processes": 3}, {"workers__max_failures": 9},
        {"workers__ray_address": "10.0.0.1:6379"}, {"wandb_mode": "disabled"}, {"training__log_every": 7},
        {"training__checkpoint_every": 7}, {"training__panels_every": 7}, {"panel_pairs": 2}, {"data__frame_cache_mb": 7},
        {"data__shards": "elsewhere"},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_change_the_result_does_not_change_the_run(settings: dict[str, Any], change: dict[str, Any]) -> None:
    assert identify_run(changed(settings, **change), manifest())[0] == identify_run(changed(settings), manifest())[0]


def test_a_run_is_named_by_what_its_weight_files_hold(settings: dict[str, Any], tmp_path: Path) -> None:
    names = []
    for name, content in (("a", "1"), ("b", "1"), ("b", "2")):
        (tmp_path / name).write_text(content)
        names.append(identify_run(changed(settings, weight_files__encoder=str(tmp_path / name)), manifest())[0])
    assert names[0] == names[1] != names[2] and identify_run(changed(settings), manifest())[0] not in names


def test_a_finished_training_is_not_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after its last step and before DVC recorded the model: the next run makes the model again and trains nothing."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / "data/shards")
    params = load_params("train", TrainParams, PARAMS_FILE).changed(SHORT)
    trained = []

    def train(params: TrainParams, config: RunConfig, folder: Path, *_: Any) -> None:
        """What Ray's workers do."""
        run, data = TrainingRun.start(config), RunData.open(config)
        run.train(data, RunFolder(folder, run.models, data.panel_pairs))
        (folder / "checkpoint_1").mkdir()
        run.state.save(folder / "checkpoint_1" / CHECKPOINT_NAME)
        trained.append(folder.name)

    monkeypatch.setattr("pipeline.train._train", train)
    run(params)
    first = {path.name: path.read_bytes() for path in Path("data/model").iterdir() if path.is_file()}
    shutil.rmtree("data/model")  # as DVC does before it runs a stage again
    run(params.changed({"workers.loader_processes": 1, "training.log_every": 3}))
    assert len(trained) == 1
    second = {path.name: path.read_bytes() for path in Path("data/model").iterdir() if path.is_file()}
    assert {name for name in first if first[name] != second[name]} == {"train.json"}, "which tells the settings"
    run(params.changed({"training.seed": 5}))
    assert len(set(trained)) == 2


def test_training_starts_from_the_champion_of_the_moment(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("promote: {stage: best}\n")
    params = changed(settings, start_from="champion")
    monkeypatch.setattr("pipeline.train.champion", lambda stage: None)
    with pytest.raises(StageError, match=r"train\.start_from: champion, but no version holds that stage yet \(sheap promote\)"):
        params.with_champion()
    asked = []
    monkeypatch.setattr("pipeline.train.champion", lambda stage: asked.append(stage) or Assignment(2, "v0.0.1", "", ""))
    monkeypatch.setattr("pipeline.train.fetch_registered", lambda version: tmp_path / version)
    assert params.with_champion().run_config().start_from == tmp_path / "v0.0.1" and asked == ["best"]
    (tmp_path / "v0.0.1").mkdir()
    names = []
    for weights in ("one", "two"):
        (tmp_path / "v0.0.1" / "model.safetensors").write_text(weights)
        names.append(identify_run(params.with_champion(), manifest())[0])
    assert len(set(names)) == 2, "another champion, another run"
    assert changed(settings).with_champion().start_from == settings["start_from"] != "champion"


def test_a_batch_that_the_workers_cannot_share_is_refused_before_ray(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / "data/shards")
    message = r"params\.yaml: train\.training\.rendered_phase\.batch_size: 8 pairs cannot be shared equally by 3 workers"
    with pytest.raises(StageError, match=message):
        run(changed(settings, workers__num_workers=3))


def test_fingerprints_follow_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = fingerprint_files(tmp_path)
    (tmp_path / "a").write_text("2")
    second = fingerprint_files(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint_files(tmp_path)}) == 3
    assert hardware()["cores"] >= 1


def test_missing_shards_and_weight_files_are_named(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="data/shards: missing; run the 'shards' stage first"):
        run(changed(settings))
    (tmp_path / "data/shards").mkdir(parents=True)
    (tmp_path / "data/shards/manifest.json").write_bytes(manifest().to_json())
    with pytest.raises(StageError, match=r"train\.weight_files\.encoder: FaRL\.pth does not exist"):
        run(changed(settings, weight_files__encoder="FaRL.pth"))


def test_workers_share_the_cores(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.train.cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolve_workers(changed(settings, workers__num_workers="auto").workers) == (1, 8, False)
    assert resolve_workers(changed(settings, workers__num_workers=4).workers) == (4, 2, False)
    assert resolve_workers(changed(settings, workers__num_workers=2, workers__threads_per_worker=1).workers) == (
        2,
        1,
        False,
    )
    with pytest.raises(StageError, match="torch sees no GPU"):
        resolve_workers(changed(settings, workers__use_gpu=True).workers)


def test_what_has_no_effect_is_said(settings: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        say_what_is_left_out(changed(settings))
    assert [word for word in ("DINOv2:", "LPIPS:", "densification:") if word not in caplog.text] == []
    assert "encoder:" not in caplog.text and "start:" not in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        say_what_is_left_out(changed(settings, training__weights__lpips=0.0, gaussians_per_face=2))
    assert "LPIPS" not in caplog.text and "densification" not in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        say_what_is_left_out(changed(settings, start_from=None))
    assert "encoder: no weights named" in caplog.text
    assert "start: random values (train.start_from), nothing to stay near (near_start) or to hold (hold_start)" in caplog.text


def record(step: int, kind: str = "training") -> str:
    return (
        json.dumps({"kind": kind, "step": step, "phase": "landmarks", "loss": 0.5, "images_per_second": 120.0}) + "\n"
    )


def test_the_newest_training_record_is_found_past_others_and_half_lines(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert last_training_record(path) is None
    path.write_text(record(1) + record(2) + record(2, "validation") + record(3)[:20])
    found = last_training_record(path)
    assert found is not None and found["step"] == 2
    assert describe(found) == "loss 0.5000, 120 images/s"


def test_progress_is_shown_while_the_workers_write(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr("pipeline.workers.train_progress.POLL_SECONDS", 0.01)
    monkeypatch.setattr("pipeline.workers.train_progress.LINE_SECONDS", 0.0)
    path = tmp_path / "history.jsonl"
    with caplog.at_level(logging.INFO), follow_history(path, changed(settings).training):
        for step in (10, 20):
            with path.open("a") as stream:
                stream.write(record(step))
            deadline = time.monotonic() + 5
            while f"step {step}/" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.01)
    assert "step 10/" in caplog.text and "images/s" in caplog.text
    assert "s to the end of this phase" in caplog.text
