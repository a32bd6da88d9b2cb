"""The loop: it learns, resumes exactly, guards its updates, densifies, and agrees across workers."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
import yaml
from torch.utils.data import Dataset

from sheap.data.batches import indexed_batches
from sheap.data.frames import Frames, Pairs
from sheap.geometry.cameras import project, published_camera
from sheap.head import HeadModel, HeadParams
from sheap.networks.config import PRESETS, EncoderConfig, NetworkConfig
from sheap.networks.sheap_network import SheapNetwork
from sheap.training import loop
from sheap.training import step as step_module
from sheap.training.config import TrainingConfig
from sheap.training.landmark_head import landmark_head
from sheap.training.loop import MEASURED, Worker, _Recorder, run_training, validate
from sheap.training.panels import COLUMNS, draw_panel
from sheap.training.state import TrainingState
from sheap.training.step import Models, training_step

SIZE = 32
PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["train"]
WEIGHTS = PARAMS["training"]["weights"]
SELF_SUPERVISED = {name: weight for name, weight in WEIGHTS.items() if not name.startswith(("truth_", "near_start"))}

NETWORK = NetworkConfig(
    encoder=EncoderConfig(
        image_size=SIZE, patch_size=8, stem="convolutional", stem_width=8,
        hidden_size=16, num_layers=1, num_heads=2, mlp_size=32, head_size=16,
    ),
    regressor=PRESETS["tiny"].regressor.model_copy(
        update={
            "feature_channels": 4, "uv_channels": (6, 6), "embedding_size": 4, "graph_width": 8, "graph_blocks": 1,
            "cross_attention_grid": 8, "cross_attention_heads": 2, "gaussians_per_face": 2, "regions": ("nose", "lips"),
        }
    ),
    lighting_components=4,
)  # fmt: skip


def made_config(**changes: Any) -> TrainingConfig:
    settings: dict[str, Any] = {
        "seed": 3,
        "landmark_phase": {"steps": 4, "batch_size": 3, "rendered_pairs": 0},
        "rendered_phase": {"steps": 4, "batch_size": 2, "rendered_pairs": 1},
        "hold_start": 0, "early_stop": None,
        "both_ways": True, "free_offset": 1.0, "largest_scale": 1.5, "weights": WEIGHTS, "precision": "auto", "compile": False,
        "optimizer": {
            "encoder_lr": 1e-3, "heads_lr": 1e-3, "regressor_lr": 1e-3, "weight_decay": 0.01, "warmup_steps": 2,
            "final_fraction": 0.1, "clip_norm": 1.0, "ema_decay": 0.9, "max_skipped_steps": 1,
        },
        "densify": {"every": 2, "fraction": 0.01, "until": 1.0, "noise_scale": 0.1},
        "log_every": 2, "validate_every": 4, "panels_every": 100, "checkpoint_every": 3,
    }  # fmt: skip
    return TrainingConfig.model_validate(settings | changes)


class MadePairs(Dataset[Pairs]):
    """Pairs whose pictures and landmarks follow from (seed, number): a bright square where the landmarks are."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self._num_samples, self._seed = num_samples, seed

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Pairs:
        rng = np.random.default_rng([self._seed, index])

        def frame() -> Frames:
            x, y = rng.integers(4, 12, 2)
            image = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
            image[y : y + 16, x : x + 16] += 180
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[y : y + 16, x : x + 16] = 255
            points = np.concatenate([rng.uniform(-3, 3, (478, 2)) + [x + 8, y + 8], np.zeros((478, 1))], 1)
            return Frames.from_arrays(image, mask, points.astype(np.float32))

        return Pairs(frame(), frame())


def made_pairs(count: int) -> Pairs:
    """A batch."""
    return Pairs.stack([MadePairs(count, 0)[k] for k in range(count)])


class Notes:
    """A reporter that keeps everything it hears; `stop_after` ends the run there, as a kill would."""

    def __init__(self, folder: Path | None = None, stop_after: int | None = None) -> None:
        self.records: list[dict[str, Any]] = []
        self.checkpoints: list[int] = []
        self._folder, self._stop_after = folder, stop_after

    def logged(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def checkpoint(self, state: TrainingState) -> None:
        self.checkpoints.append(state.step)
        if self._folder is not None:
            state.save(self._folder / "state.pt")
        if state.step == self._stop_after:
            raise KeyboardInterrupt

    def panels(self, step: int, network: SheapNetwork) -> None: ...


@pytest.fixture(scope="module")
def head() -> HeadModel:
    torch.set_num_threads(1)
    return HeadModel.load()


def made_models(head: HeadModel, **changes: str) -> Models:
    torch.manual_seed(0)
    network = SheapNetwork(NETWORK.model_copy(update=changes), head, start_translation=torch.tensor([0.0, -0.015, -0.16]))
    return Models(network, landmark_head(head), published_camera(SIZE))


def train(
    head: HeadModel,
    config: TrainingConfig,
    reporter: Notes,
    resume: Path | None = None,
    worker: Worker | None = None,
    make_dataset: Callable[[int, int], Dataset[Pairs]] = MadePairs,
) -> TrainingState:
    models = made_models(head)
    state = TrainingState.start(models.network, config)
    if resume is not None:
        state.restore(resume)
    run_training(models, state, config, indexed_batches(make_dataset), [], worker or Worker(), reporter)
    return state


def assert_same(first: TrainingState, second: TrainingState) -> None:
    """Bit for bit: weights, averages, memory and place."""
    for ours, theirs in ((first.network, second.network), (first.average.network, second.average.network)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name
    ours, theirs = first.optimizer.state_dict(), second.optimizer.state_dict()
    for key, memory in ours["state"].items():
        for name, value in memory.items():
            assert torch.equal(value, theirs["state"][key][name]), (key, name)
    assert (first.step, first.cursor, first.skipped) == (second.step, second.cursor, second.skipped)
    assert first.scheduler.state_dict() == second.scheduler.state_dict()


@pytest.mark.parametrize("stop_after", [3, 6], ids=["in the landmark phase", "in the rendered phase"])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(head: HeadModel, stop_after: int, tmp_path: Path) -> None:
    config = made_config()
    whole = train(head, config, Notes())
    with pytest.raises(KeyboardInterrupt):
        train(head, config, Notes(tmp_path, stop_after=stop_after))
    notes = Notes()
    resumed = train(head, config, notes, resume=tmp_path / "state.pt")
    assert notes.checkpoints == [s for s in (6, 8) if s > stop_after]
    assert_same(whole, resumed)
    prototypes = whole.network.regressor.prototypes
    assert int(torch.bincount(prototypes.parents).max()) > 2, "densification took part"


def test_another_seed_gives_another_result(head: HeadModel) -> None:
    config = made_config(rendered_phase={"steps": 0, "batch_size": 1, "rendered_pairs": 0})
    first, second = train(head, config, Notes()), train(head, config.model_copy(update={"seed": 4}), Notes())
    assert not torch.equal(first.network.encoder.tokens, second.network.encoder.tokens)


def test_landmark_training_finds_where_heads_are(head: HeadModel) -> None:
    config = made_config(
        landmark_phase={"steps": 60, "batch_size": 8, "rendered_pairs": 0},
        rendered_phase={"steps": 0, "batch_size": 1, "rendered_pairs": 0},
    )
    config = config.model_copy(
        update={"optimizer": config.optimizer.model_copy(update={"heads_lr": 5e-3, "encoder_lr": 5e-3})}
    )
    notes = Notes()
    train(head, config, notes)
    terms = [r["landmarks"] for r in notes.records]
    assert terms[-1] < 0.7 * terms[0]


def test_every_term_is_there_and_finite(head: HeadModel) -> None:
    notes = Notes()
    config = made_config()
    state = train(head, config, notes)
    rendered = [r for r in notes.records if r["phase"] == "rendered"][-1]
    absent = {"lpips", "dinov2", "near_start"} | {name for name in type(config.weights).model_fields if name.startswith("truth_")}
    assert set(type(config.weights).model_fields) - absent == set(rendered) & set(type(config.weights).model_fields)
    assert all(np.isfinite(v) for v in rendered.values() if isinstance(v, float))
    models = dataclasses.replace(made_models(head), network=state.network)
    batch = made_pairs(4)
    record = validate(models, state, config, [batch])
    assert record == validate(models, state, config, [batch]), "validation is repeatable"
    assert np.isfinite(record["loss"]) and "ssim" in record


LOSS_FUNCTIONS = {
    "landmarks": "landmark_loss", "photometric": "photometric_loss", "ssim": "ssim_loss", "normals": "normal_consistency",
    "depth": "depth_consistency", "alpha": "alpha_loss", "shape_prior": "shape_prior", "population_prior": "population_prior",
    "identity_consistency": "identity_consistency", "expression_prior": "expression_prior", "pose_prior": "pose_prior",
    "eyelid_prior": "eyelid_prior", "lighting_prior": "lighting_prior", "offset": "offset_regulariser",
    "scale": "scale_regulariser", "opacity": "opacity_regulariser", "dinov2": "dinov2_distance",
}  # fmt: skip
"""Terms by their weight's name, and the function that computes each; calibration and lpips are methods of what they measure."""


@pytest.mark.parametrize("name", [*LOSS_FUNCTIONS, "lpips", "calibration"])
def test_a_term_of_weight_zero_is_not_computed_and_changes_nothing_else(
    head: HeadModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = dataclasses.replace(
        made_models(head),
        dinov2=lambda images: images.flatten(2).transpose(1, 2),
        lpips=lambda rendered, target: (rendered - target).square().mean(),
    )
    pairs, background = made_pairs(2), torch.full((2, 3), 0.3)
    weights = WEIGHTS | {name: 0.0}
    whole = training_step(models, pairs, background, made_config(), rendered_pairs=2)

    def called(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{name} was computed")

    if name in LOSS_FUNCTIONS:
        monkeypatch.setattr(step_module, LOSS_FUNCTIONS[name], called)
    elif name == "lpips":
        models = dataclasses.replace(models, lpips=called)
    else:
        monkeypatch.setattr(type(models.network.landmark_calibration), "size", called)
    result = training_step(models, pairs, background, made_config(weights=weights), rendered_pairs=2)
    assert set(SELF_SUPERVISED) == set(whole.terms) == {name, *result.terms}
    for other, value in result.terms.items():
        assert torch.equal(value, whole.terms[other]), other
    expected = sum(SELF_SUPERVISED[other] * float(value.detach()) for other, value in whole.terms.items() if other != name)
    assert float(result.loss) == pytest.approx(expected, rel=1e-6)


def test_a_step_whose_every_weight_is_zero_is_refused(head: HeadModel) -> None:
    config = made_config(weights=dict.fromkeys(WEIGHTS, 0.0) | {"depth": 1.0})
    with pytest.raises(ValueError, match=r"training\.weights: every term of this phase has weight 0"):
        training_step(made_models(head), made_pairs(1), torch.zeros(1, 3), config, rendered_pairs=0)
    result = training_step(made_models(head), made_pairs(1), torch.zeros(1, 3), config, rendered_pairs=1)
    assert list(result.terms) == ["depth"]


class Poisoned(MadePairs):
    """Landmarks of some samples of the landmark phase (whose seed is the run's own) are not numbers."""

    bad: frozenset[int] = frozenset()

    def __getitem__(self, index: int) -> Pairs:
        sample = super().__getitem__(index)
        if index in self.bad and self._seed == 3:
            sample.target.landmarks[:] = np.nan
        return sample


def test_a_step_that_is_not_finite_updates_nothing_and_too_many_end_the_run(head: HeadModel) -> None:
    class OneBad(Poisoned):
        bad = frozenset({3})

    class ManyBad(Poisoned):
        bad = frozenset({3, 6, 9})

    config = made_config()
    notes = Notes()
    state = train(head, config, notes, make_dataset=OneBad)
    assert state.skipped == 1 and notes.records[-1]["skipped_steps"] == 1
    assert all(torch.isfinite(p).all() for p in state.network.parameters())
    with pytest.raises(FloatingPointError, match=r"landmarks not finite on worker 0; 2 steps skipped"):
        train(head, config, Notes(), make_dataset=ManyBad)


def test_the_guard_comes_before_the_update(head: HeadModel) -> None:
    class FirstBad(Poisoned):
        bad = frozenset({0})

    config = made_config(
        landmark_phase={"steps": 1, "batch_size": 3, "rendered_pairs": 0},
        rendered_phase={"steps": 0, "batch_size": 1, "rendered_pairs": 0},
    )
    before = copy.deepcopy(made_models(head).network.state_dict())
    state = train(head, config, Notes(), make_dataset=FirstBad)
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())


def test_a_gradient_that_is_not_finite_updates_nothing_though_the_loss_is(head: HeadModel) -> None:
    config = made_config(
        landmark_phase={"steps": 1, "batch_size": 3, "rendered_pairs": 0},
        rendered_phase={"steps": 0, "batch_size": 1, "rendered_pairs": 0},
    )
    models = made_models(head)
    before = copy.deepcopy(models.network.state_dict())
    state = TrainingState.start(models.network, config)
    models.network.heads["shape"].out.bias.register_hook(lambda gradient: gradient * torch.inf)
    notes = Notes()
    run_training(models, state, config, indexed_batches(MadePairs), [], Worker(), notes)
    assert state.skipped == 1 and np.isfinite(notes.records[0]["loss"])
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert not state.optimizer.state and state.average.num_updates == 0


def shared_config() -> TrainingConfig:
    """Batches that two workers can share."""
    return made_config(
        landmark_phase={"steps": 4, "batch_size": 4, "rendered_pairs": 0},
        rendered_phase={"steps": 4, "batch_size": 4, "rendered_pairs": 2},
        log_every=1,
    )


class OneBadOfTheSecondWorkers(Poisoned):
    bad = frozenset({3})


def _train_rank(rank: int, port: int, out: Path, stop_after: int | None, resume: Path | None) -> None:
    import os

    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    out.mkdir(exist_ok=True)
    notes, worker = Notes(out if rank == 0 else None, stop_after), Worker(rank=rank, world_size=2)
    with contextlib.suppress(KeyboardInterrupt):
        state = train(HeadModel.load(), shared_config(), notes, resume, worker, OneBadOfTheSecondWorkers)
        state.save(out / f"rank{rank}.pt")
    (out / f"rank{rank}.json").write_text(json.dumps(notes.records))
    torch.distributed.destroy_process_group()


def train_by_two(out: Path, stop_after: int | None = None, resume: Path | None = None) -> None:
    """Two processes; the first one writes its checkpoints into `out`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_train_rank, args=(rank, port, out, stop_after, resume)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0


def assert_close(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Two checkpoints but for the rounding of sums. The largest difference that was measured over eight steps: 3e-6."""
    for part in ("network", "average"):
        for name, value in ours[part].items():
            torch.testing.assert_close(value, theirs[part][name], atol=3e-5, rtol=1e-4, msg=f"{part}.{name}")
    assert [ours[name] for name in ("step", "cursor", "skipped")] == [theirs[name] for name in ("step", "cursor", "skipped")]


@pytest.fixture(scope="module")
def by_one(head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of one worker: end.pt, log.json, and its checkpoints of both phases as 3.pt and 6.pt."""
    out = tmp_path_factory.mktemp("one")
    notes = Notes(out)
    kept = notes.checkpoint

    def keep(state: TrainingState) -> None:
        kept(state)
        (out / f"{state.step}.pt").write_bytes((out / "state.pt").read_bytes())

    notes.checkpoint = keep  # type: ignore[method-assign]
    train(head, shared_config(), notes, make_dataset=OneBadOfTheSecondWorkers).save(out / "end.pt")
    (out / "log.json").write_text(json.dumps(notes.records))
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)  # two processes on a machine that does other things
def test_two_workers_end_as_one_does_with_one_network_and_one_log(by_one: Path, tmp_path: Path) -> None:
    """Prototypes move on both alike, with their averages and the optimiser's memory; one worker's bad sample skips both."""
    train_by_two(tmp_path)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    for part in ("network", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), (part, name)
    for key, memory in first["optimizer"]["state"].items():
        for name, value in memory.items():
            assert torch.equal(value, second["optimizer"]["state"][key][name]), (key, name)
    assert int(torch.bincount(first["network"]["regressor.prototypes.parents"]).max()) > 2, "densification took part"
    assert first["skipped"] == 1
    assert_close(first, torch.load(by_one / "end.pt"))
    logs = [json.loads(path.read_text()) for path in (by_one / "log.json", *(tmp_path / f"rank{k}.json" for k in range(2)))]
    for one, *others in zip(*logs, strict=True):
        for name in one.keys() - MEASURED:
            if isinstance(one[name], float) and one["step"] != 1:  # of the first step one worker's loss is not a number
                both = [record[name] for record in others]
                assert both == pytest.approx([one[name]] * 2, rel=1e-3, abs=1e-5), (one["step"], name)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", [3, 6], ids=["in the landmark phase", "in the rendered phase"])
def test_another_number_of_workers_goes_on_where_the_first_stopped(
    head: HeadModel, by_one: Path, step: int, tmp_path: Path
) -> None:
    whole = torch.load(by_one / "end.pt")
    train_by_two(tmp_path / "two", resume=by_one / f"{step}.pt")
    assert_close(torch.load(tmp_path / "two" / "rank0.pt"), whole)
    train_by_two(tmp_path / "begun", stop_after=step)
    state = train(
        head, shared_config(), Notes(), tmp_path / "begun" / "state.pt", make_dataset=OneBadOfTheSecondWorkers
    )
    assert_close(state.to_document(), whole)


def test_a_batch_that_workers_cannot_share_is_refused_by_name(head: HeadModel) -> None:
    with pytest.raises(ValueError, match=r"training\.landmark_phase\.batch_size: 3 pairs cannot be shared equally by 2 workers"):
        train(head, made_config(), Notes(), worker=Worker(world_size=2))
    config = made_config(landmark_phase={"steps": 4, "batch_size": 4, "rendered_pairs": 0})
    with pytest.raises(ValueError, match=r"training\.rendered_phase\.rendered_pairs: 1 pairs cannot be shared equally"):
        train(head, config, Notes(), worker=Worker(world_size=2))


def test_landmarks_of_the_cut_down_head_are_the_whole_ones(head: HeadModel) -> None:
    torch.manual_seed(0)
    params = HeadParams.zeros(head, 3)
    params = HeadParams(**{f.name: torch.randn_like(getattr(params, f.name)) * 0.3 for f in dataclasses.fields(params)})
    small = landmark_head(head)
    assert small.num_vertices < head.num_vertices / 3
    whole = head.landmarks(head(params).vertices)
    torch.testing.assert_close(small.landmarks(small(params).vertices), whole, atol=2e-6, rtol=0)


def test_checkpoints_that_do_not_fit_are_refused_by_name(head: HeadModel, tmp_path: Path) -> None:
    state = TrainingState.start(made_models(head).network, made_config())
    path = tmp_path / "state.pt"
    path.write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"state.pt: cannot be resumed from"):
        state.restore(path)
    torch.save({"format": "something else"}, path)
    with pytest.raises(ValueError, match="sheap-checkpoint-1"):
        state.restore(path)


def test_the_mesh_baseline_learns_the_picture_without_gaussian_terms(head: HeadModel) -> None:
    models = made_models(head, appearance="mesh")
    pairs, background = made_pairs(2), torch.full((2, 3), 0.3)
    config = made_config()
    optimizer = torch.optim.Adam(models.network.regressor.parameters(), 0.01)
    losses = []
    for _ in range(8):
        result = training_step(models, pairs, background, config, rendered_pairs=2)
        assert not {"normals", "depth", "alpha", "offset", "scale", "opacity"} & set(result.terms)
        losses.append(float(result.terms["photometric"].detach()))
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0], losses


def test_a_panel_has_a_row_a_pair_and_its_columns(head: HeadModel) -> None:
    models = made_models(head)
    batch = made_pairs(2)
    picture = draw_panel(models, models.network, batch)
    assert picture.shape == (2 * SIZE, len(COLUMNS) * SIZE, 3) and picture.dtype == np.uint8
    source = picture[:SIZE, :SIZE]
    assert np.abs(source.astype(int) - batch.source.images[0].numpy()).max() <= 1
    overlay, target = picture[:SIZE, 3 * SIZE : 4 * SIZE], picture[:SIZE, SIZE : 2 * SIZE]
    assert np.abs(overlay.astype(int) - target).mean() > 5, "the mesh lies over the target"


def test_projected_landmarks_of_the_start_lie_in_the_crop(head: HeadModel) -> None:
    models = made_models(head)
    codes = models.network.encode(torch.rand(1, 3, SIZE, SIZE))
    pixels, _ = project(head.landmarks(head(codes.params).vertices), models.cameras)
    x, y = pixels.detach()[0, 0].unbind(-1)
    assert float(x.min()) > 0.15 * SIZE and float(x.max()) < 0.85 * SIZE
    assert float(y.min()) > 0.25 * SIZE and float(y.max()) < SIZE, "crops keep the chin just inside"


def test_the_average_trails_and_its_buffers_follow(head: HeadModel) -> None:
    models = made_models(head)
    state = TrainingState.start(models.network, made_config())
    before = models.network.encoder.tokens.detach().clone()
    with torch.no_grad():
        models.network.encoder.tokens += 1
        models.network.regressor.prototypes.parents[0] = 5
    state.average.update(models.network)
    # First update: decay (1 + 0) / (10 + 0).
    torch.testing.assert_close(state.average.network.encoder.tokens, before + 0.9)
    assert int(state.average.network.regressor.prototypes.parents[0]) == 5
    assert state.average.network.head is models.network.head


def test_the_loop_module_knows_no_orchestrator() -> None:
    source = Path(loop.__file__).read_text(encoding="utf-8")
    assert "ray" not in source.replace("array", "") and "wandb" not in source


def test_time_spent_waiting_for_pairs_is_recorded() -> None:
    def slow() -> Iterator[Any]:
        for number in range(3):
            time.sleep(0.02)
            yield number

    recorder = _Recorder()
    assert list(recorder.waiting(slow())) == [0, 1, 2]
    assert 0.06 <= recorder._waited < 60
