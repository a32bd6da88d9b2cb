"""Encoder files that must not come in: absent, not finite, or holding code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchmarks.made_weights import write_encoder
from sheap.networks.config import PRESETS
from sheap.networks.encoder import TokenEncoder
from sheap.networks.encoder_weights import load_encoder_weights

THIN = PRESETS["published"].encoder.model_copy(
    update={"hidden_size": 24, "num_heads": 3, "mlp_size": 48, "num_layers": 2, "image_size": 32}
)


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pth: encoder weights not found"):
        load_encoder_weights(TokenEncoder(THIN), tmp_path / "absent.pth")


def test_values_that_are_not_finite_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "farl.pth"
    write_encoder(path, THIN)
    document = torch.load(path, weights_only=True)
    document["state_dict"]["visual.transformer.resblocks.1.mlp.c_fc.weight"][0, 0] = torch.nan
    torch.save(document, path)
    encoder = TokenEncoder(THIN)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(ValueError, match=r"farl\.pth: 'layers\.layers\.1\.mlp\.fc1\.weight' holds values that are not finite"):
        load_encoder_weights(encoder, path)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"visual.conv1.weight": Code()}}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"trap\.pth: not readable as tensors"):
        load_encoder_weights(TokenEncoder(THIN), tmp_path / "trap.pth")
    assert not (tmp_path / "unpickled").exists()
