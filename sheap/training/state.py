"""Everything that must survive a kill: network, average, optimiser, schedule, step and data cursor.

There is no random-number state to keep: each step seeds torch from (seed, step, rank), and each sample from (seed, number).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import TrainingConfig
from sheap.training.ema import WeightAverage
from sheap.training.optimizer import build_optimizer, build_scheduler

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

    @classmethod
    def start(cls, network: SheapNetwork, config: TrainingConfig) -> TrainingState:
        """Before the first step."""
        optimizer = build_optimizer(network, config.optimizer)
        scheduler = build_scheduler(optimizer, config)
        return cls(network, WeightAverage(network, config.optimizer.ema_decay), optimizer, scheduler)

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
        }

    def save(self, path: Path) -> None:
        """Writes a checkpoint; the file appears when it is complete. Raises OSError naming it when it cannot be written."""
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            # Through our own file: torch's says of a full disk only that a write failed.
            with temporary.open("wb") as stream:
                torch.save(self.to_document(), stream)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        temporary.rename(path)

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
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path}: cannot be resumed from ({type(error).__name__}: {error})") from None
        self.step, self.cursor, self.skipped = document["step"], document["cursor"], document["skipped"]
