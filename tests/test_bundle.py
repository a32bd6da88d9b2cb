"""A model is what it was: altered, damaged or absurd folders are refused in one line that names the file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.commands import seal_model
from sheap.bundle import (
    CONFIG_NAME,
    MOST_WEIGHT,
    SHIPPED_MODEL,
    WEIGHTS_NAME,
    BundleConfig,
    HeadReference,
    Preprocessing,
    check_weights,
    load_bundle,
    read_bundle_config,
    save_bundle,
    seal_bundle,
)
from sheap.head import HeadModel
from sheap.networks.config import PRESETS, CompactConfig, EncoderConfig, NetworkConfig
from sheap.networks.sheap_network import SheapNetwork
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM

SIZE = 32


@pytest.fixture(scope="module")
def network() -> SheapNetwork:
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    small = {"image_size": SIZE, "hidden_size": 16, "num_heads": 2, "num_layers": 1, "face_points": False}
    encoder = tiny.encoder.model_copy(update=small)
    config = NetworkConfig(encoder=encoder, regressor=tiny.regressor, lighting_components=4)
    return SheapNetwork(config, HeadModel.load()).eval()


@pytest.fixture
def folder(network: SheapNetwork, tmp_path: Path) -> Path:
    preprocessing = Preprocessing(image_size=SIZE, crop_side_cm=CROP_SIDE_CM, crop_rise_cm=CROP_RISE_CM)
    config = BundleConfig(
        network=network.config, image_feature_size=None, head_model=HeadReference.of(None), preprocessing=preprocessing
    )
    save_bundle(tmp_path, network, config)
    return tmp_path


def change(folder: Path, value: Any, *keys: str) -> None:
    """Sets one field of config.json."""
    document = json.loads((folder / CONFIG_NAME).read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / CONFIG_NAME).write_text(json.dumps(document))


def seal_anyway(folder: Path) -> None:
    """What somebody does who changes a folder on purpose."""
    change(folder, None, "weights_sha256")
    seal_bundle(folder)


def test_what_was_saved_loads_however_the_file_is_laid_out(folder: Path) -> None:
    document = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps(dict(reversed(document.items()))))
    loaded, config = load_bundle(folder)
    assert config.weights_sha256 is not None and not loaded.training


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (-5000, 100), (8, 1), (0, 1)])
def test_a_changed_byte_of_the_weights_is_refused(folder: Path, start: int, count: int) -> None:
    content = bytearray((folder / WEIGHTS_NAME).read_bytes())
    for place in range(count):
        content[start + place] ^= 0x40
    (folder / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{WEIGHTS_NAME}: does not fit {CONFIG_NAME}: altered or damaged"):
        load_bundle(folder)


def test_cut_and_empty_weights_are_refused(folder: Path) -> None:
    content = (folder / WEIGHTS_NAME).read_bytes()
    for cut in (content[:-10], b""):
        (folder / WEIGHTS_NAME).write_bytes(cut)
        with pytest.raises(ValueError, match="altered or damaged"):
            load_bundle(folder)


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (29.0, ("preprocessing", "crop_side_cm")),
        (1.0, ("preprocessing", "crop_rise_cm")),
        (64, ("preprocessing", "image_size")),
        (768, ("image_feature_size",)),
        (5, ("network", "lighting_components")),
        (32, ("network", "encoder", "hidden_size")),
        ("mesh", ("network", "appearance")),
        ("other.safetensors", ("head_model", "name")),
        (False, ("head_model", "shipped")),
    ],
)
def test_every_changed_setting_is_refused(folder: Path, value: Any, keys: tuple[str, ...]) -> None:
    change(folder, value, *keys)
    with pytest.raises(ValueError, match=rf"{CONFIG_NAME}: altered since it was saved"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("value", "keys", "message"),
    [
        (29.0, ("preprocessing", "crop_side_cm"), r"preprocessing.crop_side_cm: made for crops of 29.0 cm"),
        (1.5, ("preprocessing", "crop_rise_cm"), r"preprocessing.crop_rise_cm: made for crops of 1.5 cm"),
        (64, ("preprocessing", "image_size"), "preprocessing.image_size: 64, but the network takes 32"),
        (32, ("network", "encoder", "hidden_size"), "does not fit config.json"),
        (5, ("network", "lighting_components"), "does not fit config.json"),
        (8192, ("network", "encoder", "hidden_size"), "its encoder has .* weights at least"),
        ([8192] * 4, ("network", "regressor", "uv_channels"), "its regressor has .* weights at least"),
        (["nowhere"], ("network", "regressor", "regions"), "network: cannot be built"),
    ],
)
def test_what_is_sealed_and_does_not_belong_together_is_refused(
    folder: Path, value: Any, keys: tuple[str, ...], message: str
) -> None:
    change(folder, value, *keys)
    seal_anyway(folder)
    with pytest.raises(ValueError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (10**9, ("network", "encoder", "hidden_size")),
        (10**9, ("network", "encoder", "num_layers")),
        (10**9, ("network", "encoder", "mlp_size")),
        (-1, ("network", "encoder", "head_size")),
        (10**9, ("network", "encoder", "image_size")),
        ([64] * 30, ("network", "regressor", "uv_channels")),
        ([10**9], ("network", "regressor", "uv_channels")),
        (10**9, ("network", "regressor", "graph_width")),
        (10**9, ("network", "regressor", "feature_grid")),
        (10**12, ("image_feature_size",)),
        (0, ("image_feature_size",)),
        ("big", ("network", "encoder", "hidden_size")),
    ],
)
def test_absurd_sizes_are_refused_by_field_before_anything_is_allocated(
    folder: Path, value: Any, keys: tuple[str, ...]
) -> None:
    change(folder, value, *keys)
    with pytest.raises(ValueError, match=rf"{CONFIG_NAME}: .*{keys[-1]}") as raised:
        load_bundle(folder)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["tiny", "compact"])
@pytest.mark.parametrize("appearance", ["gaussians", "mesh"])
def test_a_network_has_no_fewer_weights_than_its_settings_say(name: str, appearance: str) -> None:
    config = PRESETS[name].model_copy(update={"appearance": appearance})
    network = SheapNetwork(config, HeadModel.load(), image_feature_size=None)
    held = sum(value.numel() for value in network.state_dict().values())
    assert 0 < config.encoder.least_weights + config.regressor.least_weights <= held


@pytest.mark.parametrize(
    ("value", "key"), [([64, 64], "fine_blocks"), ([200, 1, 1], "coarse_blocks"), (17, "readings"), (None, "fine_rank")]
)
def test_of_two_kinds_of_encoder_the_one_that_is_meant_names_its_field(tmp_path: Path, value: Any, key: str) -> None:
    """Before, the other kind's first field was said to be missing."""
    shutil.copyfile(SHIPPED_MODEL / CONFIG_NAME, tmp_path / CONFIG_NAME)
    change(tmp_path, value, "network", "encoder", key)
    with pytest.raises(ValueError, match=rf"{CONFIG_NAME}: network\.encoder[.: ].*{key}") as raised:
        read_bundle_config(tmp_path)
    assert "EncoderConfig" not in str(raised.value) and "CompactConfig" not in str(raised.value)


def test_compact_sizes_that_fit_no_network_are_refused() -> None:
    fields = PRESETS["compact"].encoder.model_dump()
    assert CompactConfig(**fields).least_weights > 10**6 and isinstance(PRESETS["tiny"].encoder, EncoderConfig)
    for change_of, message in (
        ({"fine_blocks": (1, 2)}, "fine_blocks: expected one number for each"),
        ({"coarse_size": 90}, "coarse_size 90 is not a multiple of 16"),
        ({"fine_side_m": float("nan")}, "fine_side_m"),
        ({"coarse_channels": (10**9, 1, 1)}, "coarse_channels"),
    ):
        with pytest.raises(ValueError, match=message):
            CompactConfig(**{**fields, **change_of})


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (1e30, "larger")])
def test_weights_that_no_training_leaves_are_refused(folder: Path, value: float, message: str) -> None:
    tensors = load_file(folder / WEIGHTS_NAME)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim)
    tensors[name].view(-1)[0] = value
    save_file(tensors, folder / WEIGHTS_NAME)
    seal_anyway(folder)
    with pytest.raises(ValueError, match=f"{WEIGHTS_NAME}: the weights '{name}' are {message}"):
        load_bundle(folder)


def test_a_network_that_training_has_broken_is_not_saved(folder: Path, network: SheapNetwork) -> None:
    before = (folder / WEIGHTS_NAME).read_bytes()
    broken = SheapNetwork(network.config, network.head)
    with torch.no_grad():
        next(broken.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        save_bundle(folder, broken, load_bundle(folder)[1])
    assert (folder / WEIGHTS_NAME).read_bytes() == before


def test_a_folder_of_before_is_refused_until_somebody_vouches_for_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((folder / CONFIG_NAME).read_text())
    del document["weights_sha256"], document["settings_sha256"]
    (folder / CONFIG_NAME).write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"weights_sha256: missing; .* python -m pipeline.commands.seal_model"):
        load_bundle(folder)
    assert seal_model.main([str(folder)]) == 0
    load_bundle(folder)
    (folder / WEIGHTS_NAME).write_bytes(b"other")
    assert seal_model.main([str(folder)]) == 2, "hashes that are there are not written over"
    assert "altered or damaged" in capsys.readouterr().err


def test_the_shipped_weights_are_far_from_the_limit() -> None:
    tensors = {name: value for name, value in load_file(SHIPPED_MODEL / WEIGHTS_NAME).items() if value.is_floating_point()}
    check_weights(tensors, SHIPPED_MODEL / WEIGHTS_NAME)
    largest = max(float(value.abs().max()) for value in tensors.values())
    print(f"largest weight: {largest:.3g}")
    assert largest < MOST_WEIGHT / 100


def test_a_file_named_as_a_models_folder_is_told_from_it(folder: Path) -> None:
    with pytest.raises(ValueError, match=rf"{WEIGHTS_NAME}: a file, not a model folder; .* holds {CONFIG_NAME}"):
        load_bundle(folder / WEIGHTS_NAME)


@pytest.mark.parametrize("name", [WEIGHTS_NAME, CONFIG_NAME])
def test_a_pipe_in_a_files_place_is_refused_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"{name}: a named pipe, not a file"):
        load_bundle(folder)
