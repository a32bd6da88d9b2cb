"""The long training of the shipped predictor, in small: photos in chunks, a state that goes on, figures of unseen people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from experiments import predictor, rendered_photos
from experiments.landmark_habits import learn_habits
from experiments.training_runs import CONFIGS
from experiments.unseen_people import measure_people
from sheap.data.manifest import verify_shards
from sheap.data.reader import ShardReader
from sheap.predictor import SheapPredictor
from sheap.training.run import TrainingRun
from sheap.video.face_landmarker import FaceLandmarker

FIGURES = {
    "identity_one", "identity_fused", "surface_one", "surface_fused", "motion", "mean_head_mm", "people", "coarse_px",
    "initial_px", "fine_px", "own_part", "identity_one_side", "spread_mm",
}  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """The campaign's settings with steps that a test can wait for."""
    document = yaml.safe_load((CONFIGS / "predictor.yaml").read_text())
    document["changes"] |= {
        "training.landmark_phase": {"steps": 3, "batch_size": 2, "rendered_pairs": 0},
        "training.log_every": 1, "training.checkpoint_every": 1, "validation_pairs": 2, "panel_pairs": 1,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("config") / "predictor.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_chunks_are_a_whole_shard_folder_with_truth(state: Path) -> None:
    assert verify_shards(state / "shards") == []
    reader = ShardReader(state / "shards" / "val")
    assert [reader.num_frames(number) for number in range(len(reader))] == [3, 3]
    truth = reader.frame_truth(0, 2)
    assert truth is not None and torch.equal(truth.shape, reader.frame_truth(0, 0).shape)
    assert 0.3 < float(truth.seen.mean()) < 1


def test_chunks_of_another_head_are_refused(state: Path) -> None:
    path = next((state / "photos" / "train").glob("*.tar.json"))
    content = path.read_text()
    path.write_text(json.dumps(json.loads(content) | {"head_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="rendered with another head model"):
        rendered_photos.assemble(state)
    path.write_text(content)


def test_training_goes_on_from_its_state_and_ends_as_if_never_stopped(state: Path, config: Path) -> None:
    def train(folder: Path, minutes: float) -> TrainingRun:
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        if not (folder / "shards").exists():
            (folder / "shards").symlink_to(state / "shards")
        return predictor.train(folder, predictor.campaign_config(config), minutes)

    stopped = state.parent / "stopped"
    assert train(stopped, minutes=0).state.step == 1  # the time is up at the first checkpoint
    assert train(stopped, minutes=0).state.step == 2
    rest, whole = train(stopped, minutes=9), train(state.parent / "whole", minutes=9)
    assert rest.state.step == whole.state.step == 3
    for name, value in whole.state.network.state_dict().items():
        assert torch.equal(value, rest.state.network.state_dict()[name]), name


def test_unseen_people_are_measured_and_a_model_is_shipped_once(
    state: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TrainingRun.start(predictor.campaign_config(config))
    model = tmp_path / "model"
    model.mkdir()
    run.save_model(model, half=True)
    found = measure_people(SheapPredictor.load(model).network, state / "shards" / "val", 2)
    assert set(found) == FIGURES and found["people"] == 2
    assert found["identity_one"] == pytest.approx(1.0, abs=0.02)  # it knows nobody yet
    assert found["identity_fused"] == pytest.approx(1.0, abs=0.02)
    monkeypatch.setattr(predictor, "SHIPPED_MODEL", tmp_path / "shipped")
    predictor.ship(model, state / "shards" / "val", 2)
    assert (tmp_path / "shipped" / "model.safetensors").stat().st_size < 12e6
    monkeypatch.setattr("sheap.predictor.SHIPPED_MODEL", tmp_path / "shipped")
    with pytest.raises(SystemExit, match="too small a gain to ship"):
        predictor.ship(model, state / "shards" / "val", 2)


def test_the_detectors_habits_are_learnt_beside_a_predictor_that_stays_as_it_is(state: Path) -> None:
    network = SheapPredictor.load().network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    reader = ShardReader(state / "shards" / "train")
    apart, left = learn_habits(network, reader, FaceLandmarker(), people=2, steps=40)
    assert left < 0.9 * apart < 0.1
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"landmark_calibration.offsets", "landmark_calibration.by_turn"}
    assert not any(value.requires_grad for value in network.landmark_calibration.parameters())
