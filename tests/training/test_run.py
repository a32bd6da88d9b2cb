"""A whole run in this process: put together, trained, stopped, resumed, and written down."""

from __future__ import annotations

import json
import re
import resource
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from sheap.data.batches import BatchPlan
from sheap.data.frames import Pairs
from sheap.data.manifest import MANIFEST_NAME, Manifest
from sheap.data.schema import TruthLayout
from sheap.data.shard_writer import write_split
from sheap.files import NotWritten
from sheap.head import HeadModel
from sheap.head.door import head_sha256
from sheap.networks.both_sides import BothSides
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.training.config import RunConfig
from sheap.training.corpus_counts import CorpusCounts
from sheap.training.run import RunData, TrainingRun, split_reader
from sheap.training.run_folder import CHECKPOINT_NAME, HISTORY_NAME, RunFolder, cut_history
from sheap.training.state import TrainingState
from tests.data.made_clips import SIZE, make_clip

PROJECT = Path(__file__).parents[2]
FROM_RANDOM = {
    "preset": "tiny",
    "start_from": None,
    "replay.share": 0.0,
    "training.hold_start": 0,
    "training.early_stop": None,
    "training.optimizer.encoder_lr": 0.001,
    "training.optimizer.heads_lr": 0.001,
}
"""A run of its own, in place of the demo's, which adapts the shipped predictor."""
SHORT = FROM_RANDOM | {
    "validation_pairs": 3,
    "panel_pairs": 2,
    "training.landmark_phase.steps": 2,
    "training.landmark_phase.batch_size": 2,
    "training.rendered_phase.steps": 2,
    "training.rendered_phase.batch_size": 2,
    "training.rendered_phase.rendered_pairs": 1,
    "training.log_every": 1,
    "training.validate_every": 2,
    "training.panels_every": 2,
    "training.checkpoint_every": 1,
}


def made_run_config(**changes: object) -> RunConfig:
    """The demo's settings, a few steps of them from random weights."""
    settings = yaml.safe_load((PROJECT / "params.yaml").read_text())["train"]
    config = RunConfig.model_validate({name: settings[name] for name in RunConfig.model_fields})
    return config.changed(SHORT | changes)


def write_shards(folder: Path, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """A shard folder of a few made clips."""
    infos = {
        name: write_split(folder / name, iter([make_clip(f"{name}{n}") for n in range(3)]), target_bytes=60_000)
        for name in splits
    }
    (folder / MANIFEST_NAME).write_bytes(Manifest(image_size=SIZE, splits=infos).sealed().to_json())
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_shards(tmp_path_factory.mktemp("run") / "shards")


class Killed(RunFolder):
    """Ends the run after its second checkpoint, as a kill would, with a later line half written."""

    def checkpoint(self, state: TrainingState) -> None:
        super().checkpoint(state)
        if state.step == 3:
            raise KeyboardInterrupt


def test_a_run_that_was_killed_ends_as_an_uninterrupted_one_with_one_history(shards: Path, tmp_path: Path) -> None:
    config = made_run_config()
    data = RunData.open(config, shards)
    assert [len(pairs) for pairs in data.validation] == [3] and set(data.panel_pairs) == {"train", "val"}
    whole = TrainingRun.start(config)
    whole.train(data, RunFolder(tmp_path / "whole", whole.models, data.panel_pairs))

    run = TrainingRun.start(config)
    with pytest.raises(KeyboardInterrupt):
        run.train(data, Killed(tmp_path / "cut", run.models, data.panel_pairs))
    with (tmp_path / "cut" / HISTORY_NAME).open("a") as stream:
        stream.write('{"kind": "training", "step": 4}\n{"kind": "trai')
    again = TrainingRun.start(config)
    again.state.restore(tmp_path / "cut" / CHECKPOINT_NAME)
    again.train(data, RunFolder(tmp_path / "cut", again.models, data.panel_pairs, again.state.step))

    for name, value in whole.state.average.network.state_dict().items():
        assert torch.equal(value, again.state.average.network.state_dict()[name]), name
    speed = re.compile(r'"(images_per_second|data_wait_share)": [^,]*, ')
    histories = [speed.sub("", (tmp_path / name / HISTORY_NAME).read_text()) for name in ("whole", "cut")]
    assert histories[0] == histories[1]
    records = [json.loads(line) for line in histories[0].splitlines()]
    assert [(r["kind"], r["step"]) for r in records] == [
        ("training", 1), ("training", 2), ("validation", 2), ("training", 3), ("training", 4), ("validation", 4),
    ]  # fmt: skip
    panels = {path.name: cv2.imread(str(path)) for path in (tmp_path / "cut" / "panels").iterdir()}
    assert set(panels) == {f"{split}-{step:07d}.png" for split in ("train", "val") for step in (2, 4)}
    assert all(picture.shape == (2 * config.image_size, 6 * config.image_size, 3) for picture in panels.values())

    (tmp_path / "model").mkdir()
    again.save_model(tmp_path / "model")
    images = torch.rand(2, 3, config.image_size, config.image_size)
    predicted = SheapPredictor.load(tmp_path / "model").predict(images)
    with torch.no_grad():
        expected = BothSides.of(again.state.average.network).params(images)
    assert torch.equal(predicted.shape, expected.shape) and torch.equal(predicted.translation, expected.translation)


def test_a_checkpoint_that_cannot_be_written_is_named_and_leaves_the_last_one(tmp_path: Path) -> None:
    run = TrainingRun.start(made_run_config())
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(b"the last one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(NotWritten, match="not written: it would be larger") as caught:
            run.state.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [left.name for left in tmp_path.iterdir()] == [CHECKPOINT_NAME]
    assert caught.value.filename == str(path) and path.read_bytes() == b"the last one"


def test_a_run_begins_with_given_weights_but_keeps_its_own_regressor() -> None:
    first = TrainingRun.start(made_run_config(**{"training.seed": 1})).models.network
    weights = first.state_dict()
    second = TrainingRun.start(made_run_config(), weights=weights).models.network
    plain = TrainingRun.start(made_run_config()).models.network
    assert torch.equal(second.encoder.tokens, first.encoder.tokens)
    assert not torch.equal(plain.encoder.tokens, first.encoder.tokens)
    assert torch.equal(second.regressor.prototypes.embeddings, plain.regressor.prototypes.embeddings)
    assert not torch.equal(second.regressor.prototypes.embeddings, first.regressor.prototypes.embeddings)
    with pytest.raises(ValueError, match=r"start: does not fit the network \(encoder\.tokens\)"):
        TrainingRun.start(made_run_config(), weights={k: v for k, v in weights.items() if k != "encoder.tokens"})
    with pytest.raises(ValueError, match=r"start: does not fit the network \(stranger\)"):
        TrainingRun.start(made_run_config(), weights=weights | {"stranger": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"start: does not fit the network \(size mismatch for encoder\.tokens"):
        TrainingRun.start(made_run_config(), weights=weights | {"encoder.tokens": torch.zeros(1)})


def test_fixed_pairs_are_the_same_every_time_and_of_every_origin(shards: Path) -> None:
    config = made_run_config(validation_pairs=11)
    one, two = RunData.open(config, shards), RunData.open(config, shards)
    assert [len(pairs) for pairs in one.validation] == [8, 3]
    for a, b in zip([*one.validation, *one.panel_pairs.values()], [*two.validation, *two.panel_pairs.values()], strict=True):
        assert torch.equal(a.source.images, b.source.images) and torch.equal(a.target.landmarks, b.target.landmarks)
    assert isinstance(one.panel_pairs["val"], Pairs) and len(one.panel_pairs["val"]) == 2


def test_shards_without_training_clips_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shards: has no split 'train'; there is nothing to train on"):
        RunData.open(made_run_config(), write_shards(tmp_path / "shards", ("val",)))


def test_settings_are_changed_by_dotted_name_and_checked() -> None:
    config = made_run_config(**{"training.weights.depth": 0.25})
    assert config.training.weights.depth == 0.25 and config.preset == "tiny"
    with pytest.raises(ValueError, match=r"train\.training\.weights\.sparkle: no such setting"):
        config.changed({"training.weights.sparkle": 1})
    with pytest.raises(ValueError, match=r"train\.preset\.size: no such setting"):
        config.changed({"preset.size": 1})
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        config.changed({"training.weights.depth": -1})


def record(step: int, kind: str = "training") -> str:
    return json.dumps({"kind": kind, "step": step}) + "\n"


def test_history_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    cut_history(path, 5)
    assert not path.exists()
    path.write_text(record(3) + record(5) + record(5, "validation") + record(7) + '{"kind": "trai')
    cut_history(path, 5)
    assert path.read_text() == record(3) + record(5) + record(5, "validation")


def test_the_example_of_the_guide_trains(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code block in docs/extending.md, as it stands there."""
    text = (PROJECT / "docs" / "extending.md").read_text()
    section = text.split("## Training without Ray", 1)[1].split("\n## ", 1)[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith(("import ", "from "))]) <= 10
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "shards").symlink_to(shards)
    settings = yaml.safe_load((PROJECT / "params.yaml").read_text())
    # The made clips carry no truth, and the preset is a small one.
    settings["train"] |= {"preset": "tiny", "start_from": None, "replay": {"share": 0.0}}
    for phase in ("landmark_phase", "rendered_phase"):  # small batches: the test is of the code, not of what it learns
        settings["train"]["training"][phase] |= {"batch_size": 2, "rendered_pairs": int(phase == "rendered_phase")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "docs/extending.md", "exec"), names)
    assert isinstance(names["network"], SheapNetwork)
    assert (tmp_path / "run" / HISTORY_NAME).is_file()
    prediction = SheapPredictor.load(tmp_path / "run" / "model").predict(torch.rand(1, 3, 112, 112))
    assert np.isfinite(prediction.shape.numpy()).all()


def test_a_run_trains_from_a_stream_as_well_and_resumes_exactly(shards: Path, tmp_path: Path) -> None:
    """From an address; three clips pass more than once."""
    config = made_run_config(**{"data.reading": "streaming", "data.shards": f"pipe:cat {shards}", "validation_pairs": 9})
    data = RunData.open(config)
    assert [len(pairs) for pairs in data.validation] == [8, 1] and set(data.panel_pairs) == {"train", "val"}
    whole = TrainingRun.start(config)
    whole.train(data, RunFolder(tmp_path / "whole", whole.models, {}))
    run = TrainingRun.start(config)
    with pytest.raises(KeyboardInterrupt):
        run.train(data, Killed(tmp_path / "cut", run.models, {}))
    again = TrainingRun.start(config)
    again.state.restore(tmp_path / "cut" / CHECKPOINT_NAME)
    again.train(data, RunFolder(tmp_path / "cut", again.models, {}, again.state.step))
    for name, value in whole.state.network.state_dict().items():
        assert torch.equal(value, again.state.network.state_dict()[name]), name


def test_readings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.shards: a command's output can only be streamed"):
        made_run_config(**{"data.shards": "pipe:cat data/shards"})
    with pytest.raises(ValueError, match=r"pairs\.across_clips: a stream shows one clip at a time"):
        made_run_config(**{"data.reading": "streaming", "pairs.across_clips": 0.5})


def write_mixed_shards(folder: Path, known: dict[str, int] | None = None) -> Path:
    """Three clips a split, of which the first `known` carry truth (default: one)."""
    head = HeadModel.load()
    layout = TruthLayout(head_sha256=head_sha256(None), num_shape=head.num_shape, num_expression=head.num_expression)
    rows = 0.3 * np.random.default_rng(0).standard_normal((4, layout.row_bytes // 4)).astype(np.float32)
    rows[:, -478:] = 1
    infos = {}
    for split, count in (known or {"train": 1, "val": 1}).items():
        clips = [make_clip(f"{split}{n}", truth=(layout, rows) if n < count else None) for n in range(3)]
        infos[split] = write_split(folder / split, iter(clips), target_bytes=200_000)
    (folder / MANIFEST_NAME).write_bytes(Manifest(image_size=SIZE, splits=infos).sealed().to_json())
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_mixed_shards(tmp_path_factory.mktemp("mixed") / "shards")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder to begin from."""
    folder = tmp_path_factory.mktemp("start")
    TrainingRun.start(made_run_config(**{"training.seed": 5})).save_model(folder)
    return folder


ADAPTING = {
    "replay.share": 0.34,
    "training.landmark_phase.steps": 0,
    "training.rendered_phase.steps": 4,
    "training.rendered_phase.batch_size": 3,
    "training.hold_start": 2,
    "training.early_stop": {"patience": 9, "judged_by": ["landmarks", "truth_shape"]},
    "training.weights.near_start": 0.1,
    "training.validate_every": 1,
    "training.panels_every": 100,
    "panel_pairs": 1,
    "validation_pairs": 4,
}


def test_an_adaptation_that_was_killed_ends_as_an_uninterrupted_one_with_one_history(
    mixed: Path, start: Path, tmp_path: Path
) -> None:
    config = made_run_config(**ADAPTING, start_from=start)
    data = RunData.open(config, mixed)
    whole = TrainingRun.start(config)
    whole.train(data, RunFolder(tmp_path / "whole", whole.models, data.panel_pairs))
    run = TrainingRun.start(config)
    with pytest.raises(KeyboardInterrupt):
        run.train(data, Killed(tmp_path / "cut", run.models, data.panel_pairs))
    again = TrainingRun.start(config)
    again.state.restore(tmp_path / "cut" / CHECKPOINT_NAME)
    again.train(data, RunFolder(tmp_path / "cut", again.models, data.panel_pairs, again.state.step))
    for part in ("network", "average"):
        ours, theirs = (run.state.to_document()[part] for run in (whole, again))
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    speed = re.compile(r'"(images_per_second|data_wait_share)": [^,]*, ')
    histories = [speed.sub("", (tmp_path / name / HISTORY_NAME).read_text()) for name in ("whole", "cut")]
    assert histories[0] == histories[1]
    records = [json.loads(line) for line in histories[0].splitlines()]
    assert [r["step"] for r in records if r["kind"] == "validation"] == [0, 1, 2, 3, 4]
    assert all({"landmarks", "truth_shape", "score"} <= set(r) for r in records if r["kind"] == "validation")
    assert all("near_start" in r and "truth_shape" in r for r in records if r["kind"] == "training")
    # A run that begins anew in the same folder has one history too.
    anew = TrainingRun.start(config)
    anew.train(data, RunFolder(tmp_path / "cut", anew.models, data.panel_pairs))
    assert speed.sub("", (tmp_path / "cut" / HISTORY_NAME).read_text()) == histories[0]


def test_a_share_of_every_batch_is_replayed_with_truth_and_the_rest_has_none(mixed: Path) -> None:
    plan = BatchPlan(num_samples=12, batch_size=3, seed=0)
    batches = list(RunData.open(made_run_config(**ADAPTING), mixed).make_batches(plan))
    assert len(batches) == 4
    for batch in batches:
        assert batch.source.truth is not None and batch.source.truth.known.tolist() == [0, 0, 1]
    # The same batches come from any place on, also over several ranks.
    later = list(RunData.open(made_run_config(**ADAPTING), mixed).make_batches(replace(plan, cursor=6)))
    for one, two in zip(batches[2:], later, strict=True):
        assert torch.equal(one.source.images, two.source.images) and torch.equal(one.target.landmarks, two.target.landmarks)
    ranks = [
        list(RunData.open(made_run_config(**ADAPTING), mixed).make_batches(replace(plan, rank=rank, world_size=2)))
        for rank in range(2)
    ]
    assert [len(found) for found in ranks] == [2, 2]
    assert all(batch.source.truth.known.tolist() == [0, 0, 1] for found in ranks for batch in found)
    assert not torch.equal(ranks[0][0].source.images, ranks[1][0].source.images)


def test_held_out_pairs_are_half_known_people_in_batches_of_their_own(mixed: Path) -> None:
    found = RunData.open(made_run_config(**ADAPTING), mixed).validation
    assert [batch.source.truth.known.tolist() for batch in found] == [[0, 0], [1, 1]]
    # Truth that only judges does not teach: training pairs are read without it.
    config = made_run_config(**ADAPTING | {"replay.share": 0.0})
    data = RunData.open(config, mixed)
    assert data.validation[1].source.truth is not None
    assert next(iter(data.make_batches(BatchPlan(num_samples=3, batch_size=3, seed=0)))).source.truth is None
    models = TrainingRun.start(config).models
    assert models.shape_metric is None and models.held_out_metric is not None
    # And without any of it nothing is read.
    data = RunData.open(made_run_config(validation_pairs=4), mixed)
    assert [batch.source.truth for batch in data.validation] == [None, None]


def test_replay_that_cannot_be_is_refused(shards: Path, mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.replay\.share: no clip of .*train carries truth"):
        RunData.open(made_run_config(**ADAPTING), shards)
    with pytest.raises(ValueError, match=r"train\.replay\.share: every clip of .*train carries truth"):
        RunData.open(made_run_config(**ADAPTING), write_mixed_shards(tmp_path / "all", {"train": 3, "val": 1}))
    with pytest.raises(ValueError, match=r"replay\.share: 0\.1 of training\.rendered_phase\.batch_size 3 leaves"):
        made_run_config(**ADAPTING | {"replay.share": 0.1})
    with pytest.raises(ValueError, match=r"replay\.share: a stream shows clips as they come"):
        made_run_config(**ADAPTING | {"data.reading": "streaming"})


def test_clips_and_people_are_counted_by_what_they_are_for(mixed: Path, shards: Path) -> None:
    config = made_run_config(**ADAPTING)
    readers = {name: split_reader(mixed, name, config) for name in ("train", "val")}
    assert CorpusCounts.of_readers(readers, is_replaying=True) == CorpusCounts(2, 2, 1, 2)
    assert CorpusCounts.of_readers(readers, is_replaying=False) == CorpusCounts(3, 3, 0, 2)
    assert CorpusCounts.of_readers({"train": readers["train"]}, is_replaying=True) == CorpusCounts(2, 2, 1, 0)
    assert CorpusCounts.of_manifest(Manifest.read(shards)) == CorpusCounts(3, 3, 0, 3)


def test_workers_that_cannot_share_the_replayed_pairs_are_refused() -> None:
    sizes = {"training.landmark_phase.steps": 0, "training.rendered_phase.batch_size": 4}
    config = made_run_config(**sizes, **{"training.rendered_phase.rendered_pairs": 2, "replay.share": 0.25})
    config.require_shares(1)
    with pytest.raises(ValueError, match=r"replay\.share: the 1 replayed pairs of training\.rendered_phase\.batch_size 4 cannot"):
        config.require_shares(2)
    with pytest.raises(ValueError, match=r"training\.rendered_phase\.batch_size: 4 pairs cannot be shared equally by 3"):
        config.require_shares(3)
