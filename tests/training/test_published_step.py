"""The command that takes a step of the published configuration: it runs training's own code, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import published_step
from benchmarks.made_weights import write_encoder
from sheap.networks.config import PRESETS
from sheap.networks.encoder import TokenEncoder
from sheap.networks.encoder_weights import load_encoder_weights
from sheap.training import loop


def test_a_preset_takes_its_steps_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    originals = (loop.training_step, loop.average_gradients)
    monkeypatch.setattr("sys.argv", ["published_step", "--preset", "tiny", "--steps", "2", "--output", str(tmp_path)])
    assert published_step.main() == 0
    assert (loop.training_step, loop.average_gradients) == originals
    report = json.loads((tmp_path / "published_step.json").read_text())
    assert report["skipped_steps"] == 0 and report["gaussians"] > 1000 and report["precision"] == "float32"
    assert {"lpips", "dinov2", "normals", "depth", "landmarks"} <= report["terms"].keys()
    seconds = report["seconds"]
    assert all(value > 0 for value in seconds.values())
    inside = [value for name, value in seconds.items() if name.endswith(", forward")]
    assert len(inside) == 5 and sum(inside) < seconds["forward, whole"]
    assert sum(seconds[name] for name in ("forward, whole", "backward", "AdamW", "moving average")) < seconds["whole step"]
    text = (tmp_path / "published_step.md").read_text()
    assert "The weights are random" in text and f"| encoder | {report['parameters']['encoder']:,} |" in text
    assert "--preset tiny --steps 2" in text and text in capsys.readouterr().out


def test_a_step_without_gradients_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"skipped_steps": 0, "gradient_norms": {"encoder": 0.0}}
    monkeypatch.setattr(published_step, "measure", lambda *_: report)
    monkeypatch.setattr(published_step, "page", lambda _: "")
    monkeypatch.setattr("sys.argv", ["published_step"])
    assert published_step.main() == 1
    report["gradient_norms"]["encoder"] = 1.0
    assert published_step.main() == 0


def test_the_made_encoder_file_fills_every_tensor_of_the_published_layout(tmp_path: Path) -> None:
    thin = {"hidden_size": 24, "num_heads": 3, "mlp_size": 48, "num_layers": 2, "image_size": 32}
    config = PRESETS["published"].encoder.model_copy(update=thin)
    write_encoder(tmp_path / "farl.pth", config)
    encoder = TokenEncoder(config)
    num_own = len([name for name in encoder.state_dict() if name != "tokens"])
    assert load_encoder_weights(encoder, tmp_path / "farl.pth") == num_own
    written = torch.load(tmp_path / "farl.pth", weights_only=True)["state_dict"]
    assert torch.equal(encoder.position_embedding, written["visual.positional_embedding"])
