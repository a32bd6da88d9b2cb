"""AdamW's groups written out parameter by parameter, and the schedule's values at its corners."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import OptimizerConfig
from sheap.training.optimizer import build_optimizer, learning_rate_factor

CONFIG = cast(
    OptimizerConfig,
    SimpleNamespace(
        encoder_lr=1e-3, heads_lr=2e-3, regressor_lr=3e-3, weight_decay=0.05, warmup_steps=4, final_fraction=0.1
    ),
)


class Parts(nn.Module):
    """A network's parts, none of which does anything."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm(4))
        self.heads = nn.Linear(4, 2, bias=False)
        self.regressor = nn.ModuleList([nn.Embedding(5, 4), nn.Linear(4, 4)])
        self.regressor[1].weight.requires_grad_(False)
        self.landmark_calibration = nn.PReLU()


def test_matrices_decay_and_every_part_has_its_rate() -> None:
    parts = Parts()
    optimizer = build_optimizer(cast(SheapNetwork, parts), CONFIG)
    found = {
        group["name"]: ([id(p) for p in group["params"]], group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
    }
    convolution, norm = parts.encoder
    embedding, linear = parts.regressor

    def ids(*tensors: Tensor) -> list[int]:
        return [id(tensor) for tensor in tensors]

    assert found == {
        "encoder.decayed": (ids(convolution.weight), 1e-3, 0.05),
        "encoder.free": (ids(convolution.bias, norm.weight, norm.bias), 1e-3, 0.0),
        "heads.decayed": (ids(parts.heads.weight), 2e-3, 0.05),
        "regressor.free": (ids(embedding.weight, linear.bias), 3e-3, 0.0),  # its matrix is frozen
        "landmark_calibration.free": (ids(parts.landmark_calibration.weight), 2e-3, 0.0),
    }
    assert all(group["betas"] == (0.9, 0.98) for group in optimizer.param_groups)


def test_a_part_that_no_rate_is_for_is_noticed() -> None:
    parts = Parts()
    parts.forgotten = nn.Linear(1, 1)
    with pytest.raises(AssertionError, match=r"^a parameter is in no group$"):
        build_optimizer(cast(SheapNetwork, parts), CONFIG)
    parts.forgotten.requires_grad_(False)
    build_optimizer(cast(SheapNetwork, parts), CONFIG)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (5, 0.1 + 0.45 * (1 + math.cos(math.pi / 16))), (12, 0.55), (20, 0.1),
        (23, 0.1),
    ],
)  # fmt: skip
def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(step: int, factor: float) -> None:
    assert learning_rate_factor(step, 20, CONFIG) == pytest.approx(factor, abs=1e-12)


def test_a_run_as_long_as_its_warm_up_has_a_schedule_too() -> None:
    assert [learning_rate_factor(step, 4, CONFIG) for step in (3, 4)] == [1.0, 1.0]
    assert learning_rate_factor(5, 4, CONFIG) == pytest.approx(0.1)
    assert learning_rate_factor(5, 6, CONFIG) == pytest.approx(0.55)


def test_every_group_starts_with_the_first_step_of_its_warm_up() -> None:
    optimizer = build_optimizer(cast(SheapNetwork, Parts()), CONFIG)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, 20, CONFIG))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([2.5e-4, 2.5e-4, 5e-4, 7.5e-4, 5e-4])
