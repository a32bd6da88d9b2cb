from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from sheap.training.config import TrainingConfig
from sheap.training.optimizer import build_scheduler


def test_the_regressor_gets_a_whole_schedule_of_its_own_in_the_rendered_phase() -> None:
    settings = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["train"]["training"]
    settings["landmark_phase"]["steps"], settings["rendered_phase"]["steps"] = 40, 20
    settings["optimizer"] |= {"warmup_steps": 5, "final_fraction": 0.1}
    config = TrainingConfig.model_validate(settings)
    names = ("encoder.free", "regressor.free")
    groups = [{"name": name, "params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1.0} for name in names]
    optimizer = torch.optim.AdamW(groups)
    scheduler = build_scheduler(optimizer, config)
    encoder, regressor = [], []
    for _ in range(config.total_steps):
        encoder.append(optimizer.param_groups[0]["lr"])
        regressor.append(optimizer.param_groups[1]["lr"])
        optimizer.step()
        scheduler.step()
    assert encoder[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert max(encoder) == pytest.approx(1) and encoder.index(max(encoder)) < 10
    assert encoder[-1] == pytest.approx(0.1, abs=0.01)
    assert 40 <= regressor.index(max(regressor[40:]), 40) < 50 and max(regressor[40:]) == pytest.approx(1)
    assert regressor[40] == pytest.approx(0.2) and regressor[-1] == pytest.approx(0.1, abs=0.02)


def test_an_encoder_that_is_held_begins_its_warm_up_when_it_is_released() -> None:
    settings = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["train"]["training"]
    settings["landmark_phase"]["steps"], settings["rendered_phase"]["steps"] = 0, 60
    settings["optimizer"] |= {"warmup_steps": 5, "final_fraction": 0.1}
    config = TrainingConfig.model_validate(settings)
    names = ("encoder.free", "heads.free")
    groups = [{"name": name, "params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1.0} for name in names]
    optimizer = torch.optim.AdamW(groups)
    scheduler = build_scheduler(optimizer, config, held_steps=20)
    rates = []
    for _ in range(config.total_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    encoder, heads = zip(*rates, strict=True)
    assert encoder[20] == pytest.approx(0.2) and encoder[24] == pytest.approx(1) and encoder[-1] == pytest.approx(0.1, abs=0.01)
    assert heads[4] == pytest.approx(1) and heads[24] < 0.9
