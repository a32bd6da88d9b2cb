"""AdamW with a learning rate per part of the network, and its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import OptimizerConfig, TrainingConfig


def build_optimizer(network: SheapNetwork, config: OptimizerConfig) -> torch.optim.AdamW:
    """Groups: encoder, heads and regressor at their own rates, each split into decayed matrices and the rest (biases,
    norms, tokens, embeddings, maps), which decay would pull from where they belong."""
    parts = {
        "encoder": (network.encoder, config.encoder_lr),
        "heads": (network.heads, config.heads_lr),
        "regressor": (network.regressor, config.regressor_lr),
        "landmark_calibration": (network.landmark_calibration, config.heads_lr),
    }
    groups = []
    for name, (module, rate) in parts.items():
        matrices = {id(layer.weight) for layer in module.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
        decayed = [p for p in module.parameters() if id(p) in matrices and p.requires_grad]
        free = [p for p in module.parameters() if id(p) not in matrices and p.requires_grad]
        groups += [
            {"name": f"{name}.decayed", "params": decayed, "lr": rate, "weight_decay": config.weight_decay},
            {"name": f"{name}.free", "params": free, "lr": rate, "weight_decay": 0.0},
        ]
    count = sum(p.numel() for group in groups for p in group["params"])
    assert count == sum(p.numel() for p in network.parameters() if p.requires_grad), "a parameter is in no group"
    return torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.98))


def learning_rate_factor(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Fraction of the peak rate at step number `step` (from 0): linear warm-up, then cosine to `final_fraction`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.final_fraction + (1 - config.final_fraction) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def build_scheduler(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, held_steps: int = 0
) -> torch.optim.lr_scheduler.LambdaLR:
    """`learning_rate_factor` over the whole run; for the regressor, which only the rendered phase trains, over that phase; for
    the encoder from the step on until which it is held."""

    def factor_from(first: int) -> Callable[[int], float]:
        num_steps = config.total_steps - first
        return lambda step: learning_rate_factor(max(0, step - first), num_steps, config.optimizer)

    starts = {"regressor": config.landmark_phase.steps, "encoder": held_steps}
    firsts = [starts.get(group["name"].split(".")[0], 0) for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, [factor_from(first) for first in firsts])
