"""What the train stage finds out before it starts Ray: files that cannot be read, compilers that are not there."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import Dinov2Config, Dinov2Model

from pipeline.run import compilers
from pipeline.run.compilers import require_compiler
from pipeline.run.settings import StageError
from pipeline.train import TrainParams, check_face_landmarks, run, say_what_is_left_out
from sheap.data.manifest import Manifest, SplitInfo
from sheap.networks.uv_generator import CrossAttention
from sheap.training.run import build_models
from sheap.video.face_models import DETECTOR_MEMBER, LANDMARKS_MEMBER, find_bundle, read_bundle_member

PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"


def made_params(
    training: dict[str, Any] | None = None, weight_files: dict[str, Any] | None = None, **changes: Any
) -> TrainParams:
    """The demo's settings with some changed, for the small preset whose encoder looks at face points."""
    own = {"preset": "tiny", "start_from": None}
    document = yaml.safe_load(PARAMS_FILE.read_text())["train"] | own | changes
    document["training"] |= training or {}
    document["weight_files"] |= {name: str(path) for name, path in (weight_files or {}).items()}
    return TrainParams.model_validate(json.loads(json.dumps(document)))


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest, and a stage that fails the test where it comes as far as Ray."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/shards").mkdir(parents=True)
    split = SplitInfo(shards=[], index_sha256="0" * 64, num_clips=1, num_frames=2, identities=["a"])
    (tmp_path / "data/shards/manifest.json").write_bytes(Manifest(image_size=32, splits={"train": split}).sealed().to_json())

    def start_ray(*_: Any) -> None:
        raise AssertionError("Ray was reached")

    monkeypatch.setattr("pipeline.train._train", start_ray)


def zipped(path: Path, member: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


def wrong_landmark_files(folder: Path) -> dict[str, Path]:
    (folder / "text.task").write_text("no bundle")
    return {
        "no zip": folder / "text.task",
        "no landmark model inside": zipped(folder / "empty.task", "readme", b""),
        "no TensorFlow Lite": zipped(folder / "garbage.task", LANDMARKS_MEMBER, b"garbage " * 100),
        "cut off": zipped(
            folder / "cut.task", LANDMARKS_MEMBER, read_bundle_member(find_bundle(), LANDMARKS_MEMBER)[:100_000]
        ),
        "another model": zipped(folder / "other.task", LANDMARKS_MEMBER, read_bundle_member(find_bundle(), DETECTOR_MEMBER)),
    }


def test_a_wrong_landmark_file_ends_before_ray_in_one_line_that_names_it(shards: None, tmp_path: Path) -> None:
    for file in wrong_landmark_files(tmp_path).values():
        with pytest.raises(StageError) as caught:
            run(made_params(weight_files={"face_landmarks": file}))
        message = str(caught.value)
        assert message.startswith("params.yaml: train.weight_files.face_landmarks: ") and "\n" not in message
        assert message.count(str(file)) == 1, message


def test_the_installed_landmark_file_passes_and_a_preset_without_points_reads_none(shards: None, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Ray was reached"):
        run(made_params())
    check_face_landmarks(made_params(weight_files={"face_landmarks": tmp_path}, preset="published"))


@pytest.mark.parametrize(
    ("device", "variable", "named"), [("cpu", "CXX", ("g++", "clang++")), ("cuda", "CC", ("gcc",))]
)
def test_compilation_without_a_compiler_is_refused_in_one_line(
    device: str, variable: str, named: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    with pytest.raises(StageError) as caught:
        require_compiler("train.training.compile", device)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("params.yaml: train.training.compile: true needs a compiler")
    assert any(name in message for name in named) and "set train.training.compile to false" in message
    monkeypatch.setenv(variable, "my-compiler")
    with pytest.raises(StageError, match="my-compiler is not on the PATH"):
        require_compiler("train.training.compile", device)


def test_compilation_without_pythons_headers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(compilers.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(StageError, match=re.escape(str(tmp_path / "Python.h"))):
        require_compiler("train.training.compile", "cpu")
    (tmp_path / "Python.h").touch()
    require_compiler("train.training.compile", "cpu")


def test_the_stage_asks_for_a_compiler_only_where_it_is_told_to_compile(shards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(AssertionError, match="Ray was reached"):
        run(made_params())
    with pytest.raises(StageError, match=r"train\.training\.compile: true needs a compiler"):
        run(made_params(training={"compile": True}))


@pytest.mark.parametrize(("precision", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_precision_reaches_every_network(precision: str, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    params = made_params(training={"precision": precision}, weight_files={"dinov2": tmp_path})
    models = build_models(params, torch.device("cpu"))
    assert models.network.encoder.compute_dtype == models.network.regressor.compute_dtype == dtype
    assert models.network.regressor.uv_generator.compute_dtype == models.dinov2.compute_dtype == dtype


def test_without_dinov2_the_log_says_so_and_no_cross_attention_is_built(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    def attentions(params: TrainParams) -> int:
        network = build_models(params, torch.device("cpu")).network
        return sum(isinstance(module, CrossAttention) for module in network.modules())

    with caplog.at_level(logging.INFO):
        say_what_is_left_out(made_params())
    assert "DINOv2: no weights named (train.weight_files.dinov2), no cross-attention and no DINOv2 loss" in caplog.text
    assert attentions(made_params()) == 0
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    assert attentions(made_params(weight_files={"dinov2": tmp_path})) == 1
