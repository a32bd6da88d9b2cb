"""The training loop: knows its rank, its device and whom to report to, and nothing of who started it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sheap.data.order import CursorBatchSampler
from sheap.data.pairs import PairBatch, PairSample, collate
from sheap.networks.prototypes import apply_change, carry_optimizer_state, plan_densification
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import TrainingConfig
from sheap.training.distributed import average_gradients, copy_from_first, sum_over_workers
from sheap.training.inputs import to_pairs
from sheap.training.state import TrainingState
from sheap.training.step import Models, StepResult, training_step


class Reporter(Protocol):
    """Who hears of progress. Records are flat and JSON-ready; every worker calls, with its own share of the figures."""

    def logged(self, record: dict[str, Any]) -> None: ...

    def checkpoint(self, state: TrainingState) -> None: ...

    def panels(self, step: int, network: SheapNetwork) -> None: ...


@dataclass(frozen=True)
class Worker:
    """Where this process stands among the workers, and what it computes on."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")
    loader_processes: int = 0


def run_training(
    models: Models,
    state: TrainingState,
    config: TrainingConfig,
    make_dataset: Callable[[int, int], Dataset[PairSample]],
    validation: Sequence[PairBatch],
    worker: Worker,
    reporter: Reporter,
) -> None:
    """Trains from `state` to the last step of `config`.

    make_dataset: (number of samples, seed) -> the training pairs; each phase asks for one. validation: batches of held-out
    pairs, or none. The same state, configuration, data and number of workers give the same result, however often it was cut off.
    Raises FloatingPointError when more steps than allowed had a loss or gradient that is not finite.
    """
    copy_from_first([*state.network.parameters(), *state.average.network.parameters()])
    recorder = _Recorder()
    for batch in _batches(state, config, make_dataset, worker):
        phase = config.phase_of(state.step)
        result, gradient_norm = _one_step(models, state, config, batch.to(worker.device), worker)
        state.step += 1
        state.cursor += phase.batch_size * worker.world_size
        if state.step == config.landmark_phase.steps:
            state.cursor = 0
        recorder.add(result, gradient_norm, num_images=2 * phase.batch_size * worker.world_size)
        last = state.step == config.total_steps
        if state.step % config.log_every == 0 or last:
            reporter.logged(recorder.take(state, config))
        if validation and (state.step % config.validate_every == 0 or last):
            reporter.logged(validate(models, state, config, validation))
        if state.step % config.panels_every == 0 or last:
            reporter.panels(state.step, state.average.network)
        if state.step % config.checkpoint_every == 0 or last:
            reporter.checkpoint(state)
        recorder.restart_clock()


def _batches(
    state: TrainingState,
    config: TrainingConfig,
    make_dataset: Callable[[int, int], Dataset[PairSample]],
    worker: Worker,
) -> Iterator[PairBatch]:
    """The batches still to come, phase by phase, from the state's cursor on."""
    ends = (config.landmark_phase.steps, config.total_steps)
    for number, (phase, end) in enumerate(zip((config.landmark_phase, config.rendered_phase), ends, strict=True)):
        if state.step >= end:
            continue
        num_samples = phase.steps * phase.batch_size * worker.world_size
        sampler = CursorBatchSampler(
            num_samples,
            batch_size=phase.batch_size,
            cursor=state.cursor,
            rank=worker.rank,
            world_size=worker.world_size,
        )
        dataset = make_dataset(num_samples, config.seed + number)
        yield from DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=worker.loader_processes)


def _one_step(
    models: Models, state: TrainingState, config: TrainingConfig, batch: PairBatch, worker: Worker
) -> tuple[StepResult, float]:
    """Forward, backward, and the update unless something is not finite. Returns the result and the gradient's norm."""
    seed = config.seed * 1_000_003 + state.step * 1009 + worker.rank
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    parameters = list(state.network.parameters())
    result = training_step(models, to_pairs(batch, generator), config, config.phase_of(state.step).rendered_pairs)
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


def _observe_and_densify(state: TrainingState, config: TrainingConfig, result: StepResult) -> None:
    """Records how much each Gaussian is seen and pulled, and moves prototypes when it is time."""
    head = result.head
    if head is None or head.gaussians is None or head.views is None or config.densify.every == 0:
        return
    prototypes = state.network.regressor.prototypes
    gradients = head.views.splat_positional_gradients[:, 0].norm(dim=-1)
    prototypes.observe(head.gaussians.attributes.opacities.detach(), gradients)
    done = state.step + 1
    in_phase = done - config.landmark_phase.steps
    if in_phase % config.densify.every or done > config.densify.until * config.total_steps:
        return
    sum_over_workers([prototypes.opacity_sum, prototypes.gradient_sum, prototypes.visits])
    change = plan_densification(
        prototypes,
        round(config.densify.fraction * len(prototypes)),
        noise_scale=config.densify.noise_scale,
        generator=torch.Generator().manual_seed(config.seed * 1_000_003 + done),
    )
    carry_optimizer_state(state.optimizer, prototypes, change)
    apply_change(state.average.network.regressor.prototypes, change)
    apply_change(prototypes, change)


@torch.no_grad()
def validate(
    models: Models, state: TrainingState, config: TrainingConfig, batches: Sequence[PairBatch]
) -> dict[str, Any]:
    """Mean terms of the averaged weights on held-out pairs; rendered in the rendered phase alone. Seeded: comparable."""
    averaged = Models(state.average.network, models.landmark_head, models.cameras, models.dinov2, models.lpips)
    is_rendering = state.step > config.landmark_phase.steps
    sums: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        pairs = to_pairs(batch.to(models.cameras.K.device), torch.Generator().manual_seed(number))
        result = training_step(averaged, pairs, config, len(pairs.source) if is_rendering else 0)
        for name, term in {"loss": result.loss, **result.terms}.items():
            sums[name] = sums.get(name, torch.zeros_like(term)) + term
    means = {name: float(total) / len(batches) for name, total in sums.items()}
    return {"kind": "validation", "step": state.step, **means}


class _Recorder:
    """Means of the terms since the last record, and the speed, which leaves out validation, panels and checkpoints."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._num_images, self._seconds, self._clock = 0, 0.0, time.perf_counter()

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

    def take(self, state: TrainingState, config: TrainingConfig) -> dict[str, Any]:
        means = {name: float(total) / count for name, (total, count) in self._sums.items() if count}
        record = {
            "kind": "training",
            "step": state.step,
            "total_steps": config.total_steps,
            "phase": "landmarks" if state.step <= config.landmark_phase.steps else "rendered",
            **means,
            "learning_rate": state.scheduler.get_last_lr()[0],
            "images_per_second": self._num_images / max(self._seconds, 1e-9),
            "skipped_steps": state.skipped,
        }
        self._sums, self._num_images, self._seconds = {}, 0, 0.0
        return record
