"""Everything that must survive a kill: network, average, optimiser, schedule, step and data cursor; what training began with, and
the best so far.

There is no random-number state to keep: each step seeds torch from (seed, step, rank), and each sample from (seed, number).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sheap.files import whole_file
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import TrainingConfig
from sheap.training.early_stop import Best
from sheap.training.ema import WeightAverage
from sheap.training.optimizer import build_optimizer, build_scheduler
from sheap.training.start import predicting_parameters

CHECKPOINT_FORMAT = "sheap-checkpoint-1"


@dataclass
class TrainingState:
    """step: steps done. cursor: samples of the current phase consumed by all workers. skipped: non-finite steps so far."""

    network: SheapNetwork
    average: WeightAverage
    optimizer: torch.optim.AdamW
    scheduler: torch.optim.lr_scheduler.LambdaLR
    step: int = 0
    cursor: int = 0
    skipped: int = 0
    anchor: dict[str, Tensor] | None = None
    """Where training began from a trained predictor: its predicting weights, to stay near; empty where that counts nothing. None:
    from random values."""
    best: Best | None = None
    """Where training stops early: what it keeps."""

    @classmethod
    def start(cls, network: SheapNetwork, config: TrainingConfig, *, is_trained: bool = False) -> TrainingState:
        """Before the first step. is_trained: the network's weights are a trained predictor's."""
        optimizer = build_optimizer(network, config.optimizer)
        scheduler = build_scheduler(optimizer, config, config.hold_start if is_trained else 0)
        anchor = None
        if is_trained:
            named = predicting_parameters(network) if config.weights.near_start > 0 else {}
            anchor = {name: value.detach().clone() for name, value in named.items()}
        average = WeightAverage(network, config.optimizer.ema_decay)
        return cls(network, average, optimizer, scheduler, anchor=anchor)

    def holds(self, config: TrainingConfig) -> bool:
        """Whether the predictor is still what training began with."""
        return self.step == 0 or (self.anchor is not None and self.step <= config.hold_start)

    def has_ended(self, config: TrainingConfig) -> bool:
        """After the last step, or where early stopping ended it before."""
        stop = config.early_stop
        is_stopped = stop is not None and self.best is not None and self.best.has_ended(stop)
        return self.step >= config.total_steps or is_stopped

    def take_best(self) -> None:
        """The averaged network becomes the best that was seen, where that is known."""
        if self.best is not None:
            self.average.network.load_state_dict(self.best.weights)

    def to_document(self) -> dict[str, Any]:
        """What `torch.save` writes: tensors, numbers, strings and containers alone."""
        return {
            "format": CHECKPOINT_FORMAT,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_updates": self.average.num_updates,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
            "cursor": self.cursor,
            "skipped": self.skipped,
            "anchor": self.anchor,
            "best": None if self.best is None else self.best.to_document(),
        }

    def save(self, path: Path) -> None:
        """Writes a checkpoint; the file appears when it is complete. Raises NotWritten."""
        with whole_file(path) as file:
            try:
                torch.save(self.to_document(), file)
            except RuntimeError as error:
                # torch ends its archive although a write has failed, and tells of that alone.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def restore(self, path: Path) -> None:
        """Takes everything from a checkpoint. Raises ValueError naming the file when it does not fit."""
        try:
            document = torch.load(path, map_location="cpu", weights_only=True)
            if document.get("format") != CHECKPOINT_FORMAT:
                raise ValueError(f"not a checkpoint of format '{CHECKPOINT_FORMAT}'")
            self.network.load_state_dict(document["network"])
            self.average.network.load_state_dict(document["average"])
            self.average.num_updates = document["average_updates"]
            self.optimizer.load_state_dict(document["optimizer"])
            self.scheduler.load_state_dict(document["scheduler"])
            # States of before these were kept had neither.
            anchor, best = document.get("anchor"), document.get("best")
            device = next(self.network.parameters()).device
            self.anchor = None if anchor is None else {name: value.to(device) for name, value in anchor.items()}
            self.best = None if best is None else Best.from_document(best)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path}: cannot be resumed from ({type(error).__name__}: {error})") from None
        self.step, self.cursor, self.skipped = document["step"], document["cursor"], document["skipped"]
