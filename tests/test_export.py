"""Exported predictors answer as the network does, for any number of crops."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sheap.export
from pipeline.commands.cli import app
from sheap.export import OUTPUTS, SUFFIXES, CropToHead, export
from sheap.head import HeadModel
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor


@pytest.fixture(scope="module")
def predictor() -> SheapPredictor:
    return SheapPredictor.load()


@pytest.fixture(scope="module")
def crops(predictor) -> torch.Tensor:
    return torch.rand(5, 3, predictor.image_size, predictor.image_size, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def wanted(predictor, crops) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(CropToHead(predictor.network)(crops))


def test_the_outputs_are_the_predictions(predictor, crops, wanted):
    params = predictor.predict(crops)
    found = dict(zip(OUTPUTS, wanted, strict=True))
    assert torch.equal(found["shape_coefficients"], params.shape)
    assert torch.equal(found["rotvecs"], params.rotvecs())
    assert torch.equal(found["vertices"], predictor.mesh(params).vertices)


def test_torchscript(predictor, crops, wanted, tmp_path):
    path = tmp_path / "m.pt"
    assert export(predictor.network, path, "torchscript") < 1e-3
    for found, true in zip(torch.jit.load(str(path))(crops), wanted, strict=True):
        torch.testing.assert_close(found, true, atol=1e-5, rtol=1e-4)


def test_pt2(predictor, crops, wanted, tmp_path):
    path = tmp_path / "m.pt2"
    assert export(predictor.network, path, "pt2") < 1e-3
    for found, true in zip(torch.export.load(str(path)).module()(crops), wanted, strict=True):
        torch.testing.assert_close(found, true, atol=1e-5, rtol=1e-4)


def test_onnx(predictor, crops, wanted, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    path = tmp_path / "m.onnx"
    assert export(predictor.network, path, "onnx") < sheap.export.TOLERANCE_MM
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(OUTPUTS)
    for count in (1, 5):
        found = session.run(None, {"crops": crops[:count].numpy()})
        assert 1e3 * np.linalg.norm(found[-1] - wanted[-1][:count].numpy(), axis=-1).max() < sheap.export.TOLERANCE_MM


@pytest.fixture(scope="module")
def trained_like() -> SheapNetwork:
    """The network that the demo trains from random weights: a transformer that is told the face's points."""
    torch.manual_seed(0)
    return SheapNetwork(PRESETS["tiny"], HeadModel.load(), image_feature_size=None).eval()


@pytest.mark.parametrize("to", ["torchscript", "pt2"])
def test_a_network_that_is_told_the_faces_points_takes_any_number_of_crops(trained_like, tmp_path, to):
    """More than it was made with, and more than it takes at a time on a CPU."""
    path = tmp_path / f"m{SUFFIXES[to]}"
    assert export(trained_like, path, to) < 1e-3
    read = torch.jit.load(str(path)) if to == "torchscript" else torch.export.load(str(path)).module()
    crops = torch.rand(11, 3, 112, 112, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        wanted = CropToHead(trained_like)(crops)
    for found, true in zip(read(crops), wanted, strict=True):
        torch.testing.assert_close(found, true, atol=1e-5, rtol=1e-4)


def test_what_onnx_cannot_do_is_said(trained_like, tmp_path):
    with pytest.raises(ValueError, match=r"m\.onnx: ONNX has no singular value decomposition.*torchscript or pt2"):
        export(trained_like, tmp_path / "m.onnx", "onnx")


def test_an_export_that_answers_otherwise_is_refused(predictor, tmp_path, monkeypatch):
    def moved(module, crops, path):
        path.write_bytes(b"half")
        return lambda images: module(images)[-1] + 1e-4

    monkeypatch.setattr(sheap.export, "_torchscript", moved)
    with pytest.raises(ValueError, match=r"m\.pt: its vertices lie up to 0\.17\d mm"):
        export(predictor.network, tmp_path / "m.pt", "torchscript")
    assert not list(tmp_path.iterdir())


def test_without_its_packages_onnx_names_the_extra(predictor, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = CliRunner().invoke(app, ["export", str(tmp_path / "m.onnx")])
    assert isinstance(result.exception, ValueError)
    assert "sheap[export]" in str(result.exception)


def test_the_command_says_how_near_it_is(tmp_path):
    out = tmp_path / f"m{SUFFIXES['torchscript']}"
    result = CliRunner().invoke(app, ["export", str(out), "--to", "torchscript"])
    assert result.exit_code == 0, result.output
    assert "mm of the network's" in result.output
    assert out.stat().st_size > 1e6
