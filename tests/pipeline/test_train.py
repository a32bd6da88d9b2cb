"""The train stage around the loop: settings, run names, history, what the driver shows."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.run.code_dependencies import code_hash
from pipeline.run.provenance import fingerprint_files, hardware
from pipeline.run.settings import StageError, load_params
from pipeline.train import TrainParams, identify_run, resolve_workers, run, say_what_is_left_out
from pipeline.workers.train_progress import describe, follow_history, last_training_record
from sheap.bundle import SHIPPED_MODEL, read_bundle_config
from sheap.data.manifest import Manifest, SplitInfo

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
