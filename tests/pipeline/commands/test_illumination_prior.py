"""The command that builds the illumination prior, and what the shipped file says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pipeline.commands import illumination_prior
from sheap.networks.illumination import SHIPPED_PRIOR, IlluminationPrior


def provenance(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_the_command_writes_a_prior_that_the_network_reads_and_says_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.safetensors"
    monkeypatch.setattr(illumination_prior, "NUM_ENVIRONMENTS", 80)
    monkeypatch.setattr("sys.argv", ["illumination_prior", "--out", str(path)])
    illumination_prior.main()
    first = IlluminationPrior(27, path)
    assert provenance(path) == {"environments": "80", "seed": "0", "made_by": "pipeline.commands.illumination_prior"}
    assert f"{path}: 27 components" in capsys.readouterr().out
    illumination_prior.main()
    assert torch.equal(IlluminationPrior(27, path).components, first.components), "the same command, the same file"


def test_the_shipped_prior_is_of_this_command() -> None:
    environments, seed = str(illumination_prior.NUM_ENVIRONMENTS), str(illumination_prior.SEED)
    made_by = "pipeline.commands.illumination_prior"
    assert provenance(SHIPPED_PRIOR) == {"environments": environments, "seed": seed, "made_by": made_by}
