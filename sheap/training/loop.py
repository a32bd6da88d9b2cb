"""The training loop: knows its rank, its device and whom to report to, and nothing of who started it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sheap.data.batches import BatchPlan, MakeBatches
from sheap.data.frames import Pairs
from sheap.networks.prototypes import Prototypes, apply_change, carry_optimizer_state, plan_densification
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import TrainingConfig
from sheap.training.distributed import average_gradients, copy_from_first, sum_over_workers
from sheap.training.early_stop import Best, judged_figures
from sheap.training.start import held, predicting_parameters
from sheap.training.state import TrainingState
from sheap.training.step import Models, StepResult, training_step

MEASURED = frozenset({"images_per_second", "data_wait_share"})
"""What a training record says of the machine; everything else in it is decided by configuration and data."""


class Reporter(Protocol):
    """Who hears of progress. Records are flat and JSON-ready; every worker calls, with the figures of all."""

    def logged(self, record: dict[str, Any]) -> None: ...

    def checkpoint(self, state: TrainingState) -> None: ...

    def panels(self, step: int, network: SheapNetwork) -> None: ...


@dataclass(frozen=True)
class Worker:
    """Where this process stands among the workers, and what it computes on."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    loader_processes: int = 0


def run_training(
    models: Models,
    state: TrainingState,
    config: TrainingConfig,
    make_batches: MakeBatches,
    validation: Sequence[Pairs],
    worker: Worker,
    reporter: Reporter,
) -> None:
    """Trains from `state` to the last step of `config`.

    make_batches: the training pairs; each phase asks for its own. validation: batches of held-out pairs, or none.
    Where the configuration stops early, the state's averaged network is the best one in the end.
    The same state, configuration, data and number of workers give the same result, however often it was cut off; another
    number gives it but for the rounding of sums, and may go on where this one stopped.
    Raises FloatingPointError when more steps than allowed had a loss or gradient that is not finite, ValueError for early
    stopping without held-out pairs, and for a batch that the workers cannot share.
    """
    if config.early_stop is not None and not validation:
        raise ValueError(
            "training.early_stop: there are no held-out pairs to judge by; set it to null, or see that people are held out "
            "(validation_pairs, shards.min_identities)"
        )
    share = config.share(worker.world_size)
    copy_from_first([*state.network.parameters(), *state.average.network.parameters()])
    models = replace(models, anchor=state.anchor or {})
    if state.step == 0 and config.early_stop is not None:
        reporter.logged(_judge(validate(models, state, config, validation), state, config))
    recorder = _Recorder()
    for pairs in recorder.waiting(_batches(state, config, share, make_batches, worker)):
        phase = config.phase_of(state.step)
        result, gradient_norm = _one_step(models, state, config, share, pairs.to(worker.device), worker)
        state.step += 1
        state.cursor += phase.batch_size
        if state.step == config.landmark_phase.steps:
            state.cursor = 0
        recorder.add(result, gradient_norm, num_images=2 * phase.batch_size)
        record = None
        if validation and (state.step % config.validate_every == 0 or _must_validate(state, config)):
            record = _judge(validate(models, state, config, validation), state, config)
        last = state.has_ended(config)
        if state.step % config.log_every == 0 or last:
            reporter.logged(recorder.take(state, config, worker.device))
        if record is not None:
            reporter.logged(record)
        if last:
            state.take_best()
        if state.step % config.panels_every == 0 or last:
            reporter.panels(state.step, state.average.network)
        if state.step % config.checkpoint_every == 0 or last:
            reporter.checkpoint(state)
        if last:
            return
        recorder.restart_clock()


def _must_validate(state: TrainingState, config: TrainingConfig) -> bool:
    """After the last step, and where early stopping has to know what the end of `hold_start` is worth."""
    is_released = config.early_stop is not None and state.anchor is not None and state.step == config.hold_start
    return is_released or state.step == config.total_steps


def _judge(record: dict[str, Any], state: TrainingState, config: TrainingConfig) -> dict[str, Any]:
    """The record of a validation with its score, which early stopping takes into account; all workers find the same."""
    stop = config.early_stop
    if stop is None:
        return record
    found = judged_figures(record, stop)
    shared = torch.tensor(list(found.values()), dtype=torch.float64, device=next(state.network.parameters()).device)
    copy_from_first([shared])
    figures, weights = dict(zip(found, shared.tolist(), strict=True)), state.average.network.state_dict()
    if state.best is None or state.holds(config):
        # What learns beside a predictor that is held changes its figures (the landmarks' calibration): the last ones count.
        state.best, score = Best.of_start(figures, state.step, weights), 1.0
    else:
        score = state.best.consider(figures, state.step, weights)
    return record | {"score": score}


def _batches(
    state: TrainingState,
    config: TrainingConfig,
    share: TrainingConfig,
    make_batches: MakeBatches,
    worker: Worker,
) -> Iterator[Pairs]:
    """This worker's batches still to come, phase by phase, from the state's cursor on."""
    if state.has_ended(config):
        return
    phases = (
        (config.landmark_phase, share.landmark_phase, config.landmark_phase.steps),
        (config.rendered_phase, share.rendered_phase, config.total_steps),
    )
    for number, (phase, own, end) in enumerate(phases):
        if state.step >= end:
            continue
        yield from make_batches(
            BatchPlan(
                num_samples=phase.steps * phase.batch_size,
                batch_size=own.batch_size,
                seed=config.seed + number,
                cursor=state.cursor,
                rank=worker.rank,
                world_size=worker.world_size,
                loader_processes=worker.loader_processes,
            )
        )


def _one_step(
    models: Models,
    state: TrainingState,
    config: TrainingConfig,
    share: TrainingConfig,
    pairs: Pairs,
    worker: Worker,
) -> tuple[StepResult, float]:
    """Forward, backward, and the update unless something is not finite. Returns the result and the gradient's norm."""
    seed = config.seed * 1_000_003 + state.step * 1009
    torch.manual_seed(seed + worker.rank)
    parameters = list(state.network.parameters())
    # Drawn for the whole batch: a pair has the same one, whichever worker it falls to.
    colours = random_backgrounds(config.phase_of(state.step).batch_size, torch.Generator().manual_seed(seed))
    background = colours[worker.rank :: worker.world_size].to(worker.device)
    is_held = state.anchor is not None and state.step < config.hold_start
    with held(predicting_parameters(state.network).values() if is_held else ()):
        result = training_step(models, pairs, background, config, share.phase_of(state.step).rendered_pairs)
        if not result.loss.requires_grad:
            raise ValueError("training.hold_start: what this phase could train is held; nothing can be learnt")
        state.optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
    average_gradients(parameters)
    gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
    # One number tells all workers alike: a loss that is not finite on one of them is not finite in this sum.
    health = gradient_norm.detach() + result.loss.detach()
    sum_over_workers([health])
    if torch.isfinite(health):
        state.optimizer.step()
        state.average.update(state.network)
        _observe_and_densify(state, config, result)
    else:
        state.skipped += 1
        if state.skipped > config.optimizer.max_skipped_steps:
            broken = [name for name, term in result.terms.items() if not torch.isfinite(term)] or ["the gradient"]
            raise FloatingPointError(
                f"step {state.step}: {', '.join(broken)} not finite on worker {worker.rank}; {state.skipped} steps skipped, "
                f"more than max_skipped_steps ({config.optimizer.max_skipped_steps}); nothing was updated by them"
            )
    state.scheduler.step()
    return result, float(gradient_norm)


def random_backgrounds(num_pairs: int, generator: torch.Generator) -> Tensor:
    """A random colour for each pair [num_pairs, 3]: only true coverage then explains any of them. All on the CPU."""
    return torch.rand(num_pairs, 3, generator=generator)


def _observe_and_densify(state: TrainingState, config: TrainingConfig, result: StepResult) -> None:
    """Records how much each Gaussian is seen and pulled, and moves prototypes when it is time."""
    head = result.head
    if head is None or head.gaussians is None or head.views is None or config.densify.every == 0:
        return
    prototypes, averaged = state.network.regressor.prototypes, state.average.network.regressor.prototypes
    assert isinstance(prototypes, Prototypes) and isinstance(averaged, Prototypes), "there are Gaussians"
    gradients = head.views.splat_positional_gradients[:, 0].norm(dim=-1)
    # Every worker keeps the records of all, so that any of them can write the checkpoint and any number go on from it.
    seen, pulled = head.gaussians.attributes.opacities.detach().sum(0), gradients.sum(0)
    num_views = torch.tensor(float(len(gradients)), device=pulled.device)
    sum_over_workers([seen, pulled, num_views])
    prototypes.observe(seen, pulled, num_views)
    done = state.step + 1
    in_phase = done - config.landmark_phase.steps
    if in_phase % config.densify.every or done > config.densify.until * config.total_steps:
        return
    change = plan_densification(
        prototypes,
        round(config.densify.fraction * len(prototypes)),
        noise_scale=config.densify.noise_scale,
        generator=torch.Generator().manual_seed(config.seed * 1_000_003 + done),
    )
    carry_optimizer_state(state.optimizer, prototypes, change)
    apply_change(averaged, change)
    apply_change(prototypes, change)


@torch.no_grad()
def validate(
    models: Models, state: TrainingState, config: TrainingConfig, batches: Sequence[Pairs]
) -> dict[str, Any]:
    """Mean terms of the averaged weights on held-out pairs, rendered in the rendered phase alone. Seeded, to compare.

    Terms of the truth are means over batches that have any; the loss is of the terms that training has.
    """
    averaged = replace(models, network=state.average.network, shape_metric=models.held_out_metric, anchor={})
    is_rendering = state.step > config.landmark_phase.steps
    sums: dict[str, tuple[Tensor, int]] = {}
    for number, batch in enumerate(batches):
        pairs = batch.to(models.cameras.K.device)
        background = random_backgrounds(len(pairs), torch.Generator().manual_seed(number)).to(models.cameras.K.device)
        terms = training_step(averaged, pairs, background, config, len(pairs) if is_rendering else 0).terms
        truth = pairs.source.truth
        if truth is None or not truth.known.any():
            terms = {name: term for name, term in terms.items() if not name.startswith("truth_")}
        for name, term in terms.items():
            total, count = sums.get(name, (torch.zeros_like(term), 0))
            sums[name] = total + term, count + 1
    means = {name: float(total) / count for name, (total, count) in sums.items()}
    taught = [name for name in means if models.shape_metric is not None or not name.startswith("truth_")]
    loss = sum(getattr(config.weights, name) * means[name] for name in taught)
    return {"kind": "validation", "step": state.step, "loss": loss, **means}


class _Recorder:
    """Means of the terms since the last record, over all workers, and the first one's speed, which leaves out validation,
    panels and checkpoints, with the share of that time for which it waited for pairs."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._num_images, self._seconds, self._waited, self._clock = 0, 0.0, 0.0, time.perf_counter()

    def waiting(self, batches: Iterator[Pairs]) -> Iterator[Pairs]:
        """The batches; how long each was waited for is recorded."""
        while True:
            start = time.perf_counter()
            pairs = next(batches, None)
            if pairs is None:
                return
            self._waited += time.perf_counter() - start
            yield pairs

    def restart_clock(self) -> None:
        self._clock = time.perf_counter()

    def add(self, result: StepResult, gradient_norm: float, num_images: int) -> None:
        values = {"loss": result.loss, **result.terms, "gradient_norm": torch.tensor(gradient_norm)}
        for name, value in values.items():
            total, count = self._sums.get(name, (torch.zeros(()), 0))
            value = value.detach().cpu()
            self._sums[name] = (total + value, count + 1) if math.isfinite(value) else (total, count)
        self._num_images += num_images
        self._seconds += time.perf_counter() - self._clock

    def take(self, state: TrainingState, config: TrainingConfig, device: torch.device) -> dict[str, Any]:
        # Every worker has the same terms in the same order: all are in one phase.
        values = torch.tensor([[float(total), count] for total, count in self._sums.values()], device=device)
        sum_over_workers([values])
        means = {name: total / count for name, (total, count) in zip(self._sums, values.tolist(), strict=True) if count}
        record = {
            "kind": "training",
            "step": state.step,
            "total_steps": config.total_steps,
            "phase": "landmarks" if state.step <= config.landmark_phase.steps else "rendered",
            **means,
            "learning_rate": state.scheduler.get_last_lr()[0],
            "images_per_second": self._num_images / max(self._seconds, 1e-9),
            "data_wait_share": min(self._waited / max(self._seconds, 1e-9), 1.0),
            "skipped_steps": state.skipped,
        }
        self._sums, self._num_images, self._seconds, self._waited = {}, 0, 0.0, 0.0
        return record
