"""Going on from a trained predictor: it is held, kept near its start, judged, and kept where nothing is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as multiprocessing

from sheap.data.batches import indexed_batches
from sheap.head import HeadModel
from sheap.networks.sheap_network import SheapNetwork
from sheap.training import loop
from sheap.training import step as step_module
from sheap.training.config import EarlyStopConfig, TrainingConfig
from sheap.training.early_stop import Best, judged_figures
from sheap.training.loop import MEASURED, Worker, run_training
from sheap.training.start import held, predicting_parameters
from sheap.training.state import TrainingState
from sheap.training.step import training_step
from tests.training.test_loop import WEIGHTS, MadePairs, Notes, assert_same, made_config, made_models, made_pairs

STOP = EarlyStopConfig(patience=2, judged_by=("landmarks",))


@pytest.fixture(scope="module")
def head() -> HeadModel:
    torch.set_num_threads(1)
    return HeadModel.load()


def adapting(**changes: Any) -> TrainingConfig:
    """Eight rendered steps, the first three of them held, judged at every second."""
    settings: dict[str, Any] = {
        "landmark_phase": {"steps": 0, "batch_size": 3, "rendered_pairs": 0},
        "rendered_phase": {"steps": 8, "batch_size": 2, "rendered_pairs": 1},
        "hold_start": 3, "early_stop": STOP.model_dump(), "validate_every": 2, "checkpoint_every": 1,
        "weights": WEIGHTS | {"near_start": 0.1},
    }  # fmt: skip
    return made_config(**settings | changes)


def adapt(
    head: HeadModel, config: TrainingConfig, reporter: Notes, resume: Path | None = None, *, is_trained: bool = True
) -> TrainingState:
    models = made_models(head)
    state = TrainingState.start(models.network, config, is_trained=is_trained)
    if resume is not None:
        state.restore(resume)
    run_training(models, state, config, indexed_batches(MadePairs), [made_pairs(2)], Worker(), reporter)
    return state


def scripted(monkeypatch: pytest.MonkeyPatch, figures: Sequence[dict[str, float]]) -> Iterator[dict[str, float]]:
    """Validation finds these, one after another."""
    coming = iter(figures)

    def validate(models: Any, state: TrainingState, *_: Any) -> dict[str, Any]:
        return {"kind": "validation", "step": state.step, **next(coming)}

    monkeypatch.setattr(loop, "validate", validate)
    return coming


def snapshot(network: SheapNetwork) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("stop_after", [1, 2, 5, 6], ids=["held", "held and judged", "released", "released and judged"])
def test_a_killed_and_resumed_adaptation_equals_an_uninterrupted_one(head: HeadModel, stop_after: int, tmp_path: Path) -> None:
    config = adapting()
    notes = Notes()
    whole = adapt(head, config, notes)
    cut = Notes(tmp_path, stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        adapt(head, config, cut)
    # What is begun with has changed since: the state says what it was.
    models = made_models(head)
    with torch.no_grad():
        for parameter in models.network.parameters():
            parameter += 0.5
    state = TrainingState.start(models.network, config, is_trained=True)
    state.restore(tmp_path / "state.pt")
    rest = Notes()
    run_training(models, state, config, indexed_batches(MadePairs), [made_pairs(2)], Worker(), rest)
    assert_same(whole, state)
    assert whole.anchor is not None and state.anchor is not None and whole.best is not None and state.best is not None
    for ours, theirs in ((whole.anchor, state.anchor), (whole.best.weights, state.best.weights)):
        assert ours.keys() == theirs.keys() and ours
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    plain = [dataclasses.replace(best, weights={}) for best in (whole.best, state.best)]
    assert plain[0] == plain[1]
    for kind in ("validation", "training"):
        told = [r for r in cut.records + rest.records if r["kind"] == kind]
        for record in told + notes.records:
            for measured in MEASURED:
                record.pop(measured, None)
        expected = [r for r in notes.records if r["kind"] == kind]
        assert [r["step"] for r in told] == [r["step"] for r in expected]
        if kind == "validation":
            assert told == expected and [r["step"] for r in told] == [0, 2, 3, 4, 6, 8]


def test_a_held_predictor_stays_to_the_bit_while_the_rest_learns_and_is_free_afterwards(head: HeadModel) -> None:
    before = snapshot(made_models(head).network)
    names = set(predicting_parameters(made_models(head).network))
    assert {name.split(".")[0] for name in names} == {"encoder", "heads"}
    assert {name.split(".")[1] for name in names if name.startswith("heads.")} == {"shape", "expression", "pose"}
    phase = {"steps": 3, "batch_size": 2, "rendered_pairs": 1}
    state = adapt(head, adapting(rendered_phase=phase), Notes())
    moved = {name for name, value in state.network.state_dict().items() if not torch.equal(value, before[name])}
    assert not moved & names
    assert {name.split(".")[0] for name in moved} == {"heads", "regressor", "landmark_calibration"}
    assert {name.split(".")[1] for name in moved if name.startswith("heads.")} == {"lighting", "features"}
    assert all(torch.equal(state.average.network.state_dict()[name], before[name]) for name in names)
    assert all(parameter.requires_grad for parameter in predicting_parameters(state.network).values())
    state = adapt(head, adapting(), Notes())
    still = {name for name in names if torch.equal(state.network.state_dict()[name], before[name])}
    assert len(still) < len(names) / 2


def test_random_values_are_neither_held_nor_stayed_near(head: HeadModel) -> None:
    before, notes = snapshot(made_models(head).network), Notes()
    phase = {"steps": 2, "batch_size": 2, "rendered_pairs": 1}
    state = adapt(head, adapting(rendered_phase=phase), notes, is_trained=False)
    assert state.anchor is None and not any("near_start" in record for record in notes.records)
    names = predicting_parameters(state.network)
    assert any(not torch.equal(state.network.state_dict()[name], before[name]) for name in names)


def test_parameters_are_free_again_when_what_was_done_with_them_fails() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(RuntimeError, match="fails"), held([parameter]):
        assert not parameter.requires_grad
        raise RuntimeError("fails")
    assert parameter.requires_grad


def test_a_phase_that_has_nothing_free_to_learn_is_refused(head: HeadModel) -> None:
    landmarks = {"steps": 2, "batch_size": 2, "rendered_pairs": 0}
    weights = dict.fromkeys(WEIGHTS, 0.0) | {"shape_prior": 1.0}
    config = adapting(landmark_phase=landmarks, weights=weights, early_stop=None)
    with pytest.raises(ValueError, match=r"training\.hold_start: what this phase could train is held"):
        adapt(head, config, Notes())


def test_the_distance_from_the_start_is_a_term_that_costs_nothing_at_weight_zero(
    head: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = adapting()
    models = made_models(head)
    state = TrainingState.start(models.network, config, is_trained=True)
    assert state.anchor is not None and set(state.anchor) == set(predicting_parameters(models.network))
    near = dataclasses.replace(models, anchor=state.anchor)
    pairs, background = made_pairs(2), torch.zeros(2, 3)
    assert float(training_step(near, pairs, background, config, 0).terms["near_start"].detach()) == 0
    with torch.no_grad():
        models.network.encoder.tokens += 0.5
        models.network.heads["lighting"].out.bias += 3  # the regressor's, which begins anew
    result = training_step(near, pairs, background, config, 0)
    distance = 0.5 * 0.25 * models.network.encoder.tokens.numel()
    assert float(result.terms["near_start"].detach()) == pytest.approx(distance, rel=1e-5)
    plain = training_step(models, pairs, background, config, 0)
    assert float(result.loss.detach() - plain.loss.detach()) == pytest.approx(0.1 * distance, rel=1e-3)

    def called(*_: Any) -> None:
        raise AssertionError("near_start was computed")

    monkeypatch.setattr(step_module, "near_start", called)
    without = adapting(weights=WEIGHTS | {"near_start": 0.0})
    assert TrainingState.start(models.network, without, is_trained=True).anchor == {}, "no second copy of the weights"
    assert "near_start" not in training_step(near, pairs, background, without, 0).terms


def test_weights_stay_nearer_the_start_the_more_that_counts(head: HeadModel) -> None:
    before, distances = snapshot(made_models(head).network), []
    for weight in (0.0, 1.0, 100.0):
        config = adapting(weights=WEIGHTS | {"near_start": weight}, early_stop=None, hold_start=0)
        network = adapt(head, config, Notes()).network.state_dict()
        names = predicting_parameters(made_models(head).network)
        distances.append(sum(float((network[name] - before[name]).square().sum()) for name in names))
    assert distances[2] < distances[1] < distances[0] and distances[2] < 0.9 * distances[0]


def test_the_best_weights_are_what_is_left_and_patience_ends_the_run(
    head: HeadModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Judged at 0, 2 and 3 (still the start's predictor: the last counts), 4 (better), 6 and 8 (worse than 4)."""
    left = scripted(monkeypatch, [{"landmarks": value} for value in (4.0, 3.0, 2.0, 1.0, 1.5, 1.5, 0.1)])
    notes = Notes(tmp_path)
    config = adapting(rendered_phase={"steps": 20, "batch_size": 2, "rendered_pairs": 1})
    seen: dict[int, dict[str, torch.Tensor]] = {}
    judge = loop._judge

    def judged(record: dict[str, Any], state: TrainingState, config: TrainingConfig) -> dict[str, Any]:
        seen[state.step] = snapshot(state.average.network)
        return judge(record, state, config)

    monkeypatch.setattr(loop, "_judge", judged)
    state = adapt(head, config, notes)
    assert next(left) == {"landmarks": 0.1}, "the rest is never asked"
    assert state.step == 8 and state.has_ended(config) and notes.checkpoints[-1] == 8
    assert [r["score"] for r in notes.records if r["kind"] == "validation"] == [1.0, 1.0, 1.0, 0.5, 0.75, 0.75]
    assert state.best is not None and not state.best.is_start
    assert (state.best.step, state.best.validations, state.best.failures) == (4, 3, 2)
    for name, value in state.average.network.state_dict().items():
        assert torch.equal(value, seen[4][name]), name
    # The last checkpoint holds the same, and a run that goes on from it is over.
    rest = Notes()
    again = adapt(head, config, rest, resume=tmp_path / "state.pt")
    assert_same(state, again)
    assert rest.records == []


def test_the_start_is_what_is_left_where_nothing_is_better(head: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [{"landmarks": value} for value in (2.0, 2.0, 1.0, 1.0, 1.1)])
    before = snapshot(made_models(head).network)
    state = adapt(head, adapting(), Notes())
    assert state.step == 6 and state.best is not None and state.best.is_start and state.best.step == 3
    kept = state.average.network.state_dict()
    assert all(torch.equal(kept[name], before[name]) for name in predicting_parameters(made_models(head).network))
    assert not torch.equal(kept["regressor.prototypes.embeddings"], before["regressor.prototypes.embeddings"])


def test_without_early_stopping_the_last_weights_are_left(head: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [{"landmarks": value} for value in (1.0, 2.0, 3.0, 4.0)])
    notes = Notes()
    state = adapt(head, adapting(early_stop=None), notes)
    assert state.step == 8 and state.best is None
    assert [r["step"] for r in notes.records if r["kind"] == "validation"] == [2, 4, 6, 8]
    assert not any("score" in record for record in notes.records)


def test_early_stopping_without_held_out_pairs_is_refused(head: HeadModel) -> None:
    models, config = made_models(head), adapting()
    state = TrainingState.start(models.network, config, is_trained=True)
    with pytest.raises(ValueError, match=r"training\.early_stop: there are no held-out pairs"):
        run_training(models, state, config, indexed_batches(MadePairs), [], Worker(), Notes())


def test_better_is_what_gains_on_the_mean_and_loses_in_nothing() -> None:
    weights = {"a": torch.tensor([1.0])}
    best = Best.of_start({"landmarks": 2.0, "truth_shape": 4.0}, 0, weights)
    kept = best.weights["a"]
    weights["a"] += 1
    assert float(kept) == 1, "a copy"
    assert best.consider({"landmarks": 1.0, "truth_shape": 4.1}, 1, weights) == pytest.approx(0.7625)
    assert best.is_start and best.failures == 1 and float(best.weights["a"]) == 1
    best.consider({"landmarks": float("nan"), "truth_shape": 0.1}, 2, weights)
    assert best.is_start and best.failures == 2 and best.has_ended(STOP)
    best.consider({"landmarks": 2.0, "truth_shape": 4.0}, 3, weights)
    assert best.is_start, "as good is not better"
    assert best.consider({"landmarks": 1.8, "truth_shape": 4.0}, 4, weights) == pytest.approx(0.95)
    assert (best.step, best.failures, best.validations, float(best.weights["a"])) == (4, 0, 4, 2.0)
    best.consider({"landmarks": 1.9, "truth_shape": 3.9}, 5, weights)
    assert best.step == 4 and best.failures == 1
    again = Best.from_document(best.to_document())
    assert dataclasses.replace(again, weights={}) == dataclasses.replace(best, weights={})


def test_what_was_not_measured_is_not_judged() -> None:
    stop = EarlyStopConfig(patience=1, judged_by=("landmarks", "truth_shape"))
    assert judged_figures({"landmarks": 1.0, "depth": 2.0}, stop) == {"landmarks": 1.0}
    with pytest.raises(ValueError, match=r"early_stop\.judged_by: held-out pairs have none of landmarks, truth_shape"):
        judged_figures({"depth": 2.0}, stop)


@pytest.mark.parametrize(
    ("judged_by", "weights", "message"),
    [
        (["sparkle"], {}, "no term of held-out pairs is called 'sparkle'"),
        (["near_start"], {}, "no term of held-out pairs is called 'near_start'"),
        (["landmarks"], {"landmarks": 0.0}, "early_stop.judged_by: landmarks has weight 0"),
        ([], {}, "at least 1 item"),
    ],
)
def test_judges_that_cannot_be_are_refused(judged_by: list[str], weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapting(early_stop={"patience": 1, "judged_by": judged_by}, weights=WEIGHTS | weights)


def _adapt_rank(rank: int, port: int, out: Path) -> None:
    import os

    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    # A pair each: the sizes are the whole batch's.
    shared = {"steps": 8, "batch_size": 4, "rendered_pairs": 2}
    head, config = HeadModel.load(), adapting(rendered_phase=shared)
    models = made_models(head)
    state = TrainingState.start(models.network, config, is_trained=True)
    worker = Worker(rank=rank, world_size=2)
    # Each has held-out pairs of its own: what the first one finds counts.
    batch = made_pairs(4).first(2) if rank == 0 else made_pairs(5)
    run_training(models, state, config, indexed_batches(MadePairs), [batch], worker, Notes())
    state.save(out / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_workers_agree_on_what_is_best(tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_adapt_rank, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["step"] == second["step"]
    ours, theirs = first["best"], second["best"]
    assert {k: v for k, v in ours.items() if k != "weights"} == {k: v for k, v in theirs.items() if k != "weights"}
    records = {"opacity_sum", "gradient_sum", "visits"}
    for name, value in ours["weights"].items():
        if name.rsplit(".", 1)[-1] not in records:
            assert torch.equal(value, theirs["weights"][name]), name
