"""A trained model on disk: `model.safetensors` and `config.json`, all that prediction needs beside a head model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load, save
from torch import Tensor

from sheap.files import write_bytes, write_json
from sheap.head import HeadModel
from sheap.head.data import OPEN_HEAD_PATH, made_tensors, stored_source, with_made
from sheap.head.door import head_sha256
from sheap.networks.config import CompactConfig, EncoderConfig, NetworkConfig
from sheap.networks.sheap_network import SheapNetwork
from sheap.reading.regular_file import read_bytes
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MOST_WEIGHT = 1e4
"""The largest size of a single weight; the shipped predictor's largest is 2.97 (`pytest -s -k far_from tests/test_bundle.py`)."""
MADE = "head_made."
"""Before the names of parts of the head model that its publisher's files lack."""
SHIPPED_MODEL = Path(__file__).with_name("shipped_model")
"""The predictor that comes with the package: a bundle like any other (docs/results/predictor.md)."""


class HeadReference(BaseModel):
    """Which head model the codes are of. shipped: it is the open head in this package; another must be given on loading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    shipped: bool

    @classmethod
    def of(cls, path: Path | None) -> HeadReference:
        """The reference to a head model's file or folder (None: the shipped one)."""
        file = OPEN_HEAD_PATH if path is None else path
        sha256, source = head_sha256(path), stored_source(file) if file.suffix == ".safetensors" else None
        return cls(name=file.name if source is None else source.name, sha256=sha256, shipped=sha256 == head_sha256(None))


class Preprocessing(BaseModel):
    """How a picture becomes an input: the square crop of sheap.video.crops, RGB in [0, 1], of `image_size` px."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    crop_side_cm: float
    crop_rise_cm: float


class BundleConfig(BaseModel):
    """`config.json`. The hashes are set where it is saved: what is loaded is what was saved, weights and settings alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["sheap-bundle-1"] = "sheap-bundle-1"
    network: NetworkConfig
    image_feature_size: int | None = Field(gt=0, le=8192)
    head_model: HeadReference
    preprocessing: Preprocessing
    weights_sha256: str | None = None
    """Of model.safetensors."""
    settings_sha256: str | None = None
    """Of everything above, as `settings_hash` computes it."""

    def settings_hash(self) -> str:
        """SHA-256 of format, network, head model and preprocessing, however they are laid out in the file."""
        settings = self.model_dump(mode="json", exclude={"weights_sha256", "settings_sha256"})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def sealed(self, weights: bytes) -> BundleConfig:
        """The same with the hashes of these weights and of itself."""
        hashes = {"weights_sha256": hashlib.sha256(weights).hexdigest(), "settings_sha256": self.settings_hash()}
        return self.model_copy(update=hashes)


def save_bundle(folder: Path, network: SheapNetwork, config: BundleConfig, *, half: bool = False) -> None:
    """Writes both files into a folder. half: floats in half precision, as they are shipped.

    Raises ValueError naming a weight that is not finite, NotWritten naming the file.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    # What was looked for on the head model goes along: found again elsewhere, it could differ in a triangle.
    tensors |= {f"{MADE}{name}": value.cpu().contiguous() for name, value in made_tensors(network.head.data).items()}
    check_weights(tensors, folder / WEIGHTS_NAME)
    content = save(tensors, metadata={"format": config.format})
    # Killed between the two, the folder holds files that do not belong together, and the hashes say so.
    write_bytes(folder / WEIGHTS_NAME, content)
    write_json(folder / CONFIG_NAME, config.sealed(content).model_dump(mode="json"), indent=2)


def seal_bundle(folder: Path) -> None:
    """Writes the hashes into the configuration of a folder that was saved before there were any; weights stay as they are.

    Raises ValueError as load_bundle does where hashes are there and differ.
    """
    config, weights = read_bundle_config(folder), _read_weights(folder)
    if config.weights_sha256 is not None:
        _check_hashes(folder, config, weights)
    write_json(folder / CONFIG_NAME, config.sealed(weights).model_dump(mode="json"), indent=2)


def load_bundle(folder: Path, head_model: Path | None = None) -> tuple[SheapNetwork, BundleConfig]:
    """The network, in evaluation mode, and its configuration.

    head_model: the file it was trained with, where that is not the open head. Raises ValueError naming the file when
    something is missing, altered, absurd or does not belong together.
    """
    config = read_bundle_config(folder)
    place, weights_path = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    given = HeadReference.of(head_model)
    if given.sha256 != config.head_model.sha256:
        wanted = f"'{config.head_model.name}', pass its path"
        if config.head_model.shipped:
            wanted = "the open head (to have answers in another head's parameters: --head)"
            wanted = "an earlier open head" if given.shipped else wanted
        raise ValueError(f"{place}: trained with another head model than {given.name}: {wanted}")
    content = _read_weights(folder)
    _check_hashes(folder, config, content)
    _check_preprocessing(place, config)
    try:
        tensors = load(content)
    except Exception as error:
        raise ValueError(f"{weights_path}: not a file of weights ({' '.join(str(error).split())[:200]})") from None
    check_weights(tensors, weights_path)
    made = {name.removeprefix(MADE): tensors.pop(name) for name in list(tensors) if name.startswith(MADE)}
    held = sum(tensor.numel() for tensor in tensors.values())
    for part, least in (
        ("encoder", config.network.encoder.least_weights),
        ("regressor", config.network.regressor.least_weights),
    ):
        if held < least:
            raise ValueError(f"{place}: network: its {part} has {least} weights at least, {WEIGHTS_NAME} holds {held} in all")
    head = HeadModel.load(head_model)
    if made:
        try:
            head = HeadModel(with_made(head.data, made))
        except Exception as error:
            what = " ".join(str(error).split())[:200]
            raise ValueError(f"{weights_path}: '{MADE}...' does not fit the head model {given.name} ({what})") from None
    try:
        network = SheapNetwork(config.network, head, image_feature_size=config.image_feature_size)
    except Exception as error:  # sizes that are each in range and still fit no network together
        raise ValueError(f"{place}: network: cannot be built ({' '.join(str(error).split())[:200]})") from None
    try:
        network.load_state_dict(tensors)
    except Exception as error:
        raise ValueError(f"{weights_path}: does not fit {CONFIG_NAME} ({' '.join(str(error).split())[:200]})") from None
    return network.eval().requires_grad_(False), config


def check_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises ValueError naming the file and the first weight that is NaN, infinite or absurdly large."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool((tensor.abs() <= MOST_WEIGHT).all()):  # NaN compares as false
            what = "not finite" if not bool(torch.isfinite(tensor).all()) else f"larger than {MOST_WEIGHT:g}"
            raise ValueError(f"{path}: the weights '{name}' are {what}; the training went wrong, or the file did")


def _read_weights(folder: Path) -> bytes:
    try:
        return read_bytes(folder / WEIGHTS_NAME)
    except FileNotFoundError:
        raise ValueError(f"{folder / WEIGHTS_NAME}: missing") from None


def _check_hashes(folder: Path, config: BundleConfig, weights: bytes) -> None:
    place = folder / CONFIG_NAME
    if config.weights_sha256 is None or config.settings_sha256 is None:
        raise ValueError(
            f"{place}: weights_sha256: missing; if you trust this folder as it is, say so: "
            f"python -m pipeline.commands.seal_model {folder}"
        )
    if hashlib.sha256(weights).hexdigest() != config.weights_sha256:
        raise ValueError(f"{folder / WEIGHTS_NAME}: does not fit {CONFIG_NAME}: altered or damaged since it was saved (SHA-256)")
    if config.settings_hash() != config.settings_sha256:
        raise ValueError(f"{place}: altered since it was saved (its settings are not those of settings_sha256)")


def _check_preprocessing(place: Path, config: BundleConfig) -> None:
    """There is one crop rule; a model that was made for another would be shown pictures that it does not know."""
    made_for, size = config.preprocessing, config.network.encoder.image_size
    if made_for.image_size != size:
        raise ValueError(f"{place}: preprocessing.image_size: {made_for.image_size}, but the network takes {size}")
    for name, ours in (("crop_side_cm", CROP_SIDE_CM), ("crop_rise_cm", CROP_RISE_CM)):
        if getattr(made_for, name) != ours:
            theirs = getattr(made_for, name)
            raise ValueError(f"{place}: preprocessing.{name}: made for crops of {theirs} cm, this version cuts {ours} cm")


def read_bundle_config(folder: Path) -> BundleConfig:
    """`config.json` of a model folder. Raises ValueError naming the file when it is missing or wrong."""
    path = folder / CONFIG_NAME
    try:
        return BundleConfig.model_validate_json(read_bytes(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: missing; is this a model folder?") from None
    except NotADirectoryError:
        raise ValueError(f"{folder}: a file, not a model folder; name the folder that holds {CONFIG_NAME}") from None
    except ValidationError as error:
        where, what = _first_problem(error)
        raise ValueError(f"{path}: {where or 'file'}: {what}") from None


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Dotted name and message of what is wrong first. Of kinds of network that one field may hold, the one meant has least."""
    branches: dict[tuple[int | str, ...], list[tuple[str, str]]] = {}
    for item in error.errors():
        kinds = [number for number, part in enumerate(item["loc"]) if isinstance(part, str) and part.endswith(_KINDS)]
        branch = item["loc"][: kinds[0] + 1] if kinds else ()
        name = ".".join(str(part) for number, part in enumerate(item["loc"]) if number not in kinds)
        branches.setdefault(branch, []).append((name, item["msg"]))
    return branches[()][0] if () in branches else min(branches.values(), key=len)[0]


_KINDS = tuple(f"{kind.__name__}{end}" for kind in (EncoderConfig, CompactConfig) for end in ("", "]"))
"""How pydantic's locations end where they name a kind and no field."""
