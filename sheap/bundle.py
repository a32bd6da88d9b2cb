"""A trained model on disk: `model.safetensors` and `config.json`, all that prediction needs beside a head model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save_file

from sheap.head import HeadModel
from sheap.head.data import OPEN_HEAD_PATH, made_tensors, stored_source, with_made
from sheap.head.door import head_sha256
from sheap.networks.config import NetworkConfig
from sheap.networks.sheap_network import SheapNetwork

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
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
    """`config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["sheap-bundle-1"] = "sheap-bundle-1"
    network: NetworkConfig
    image_feature_size: int | None
    head_model: HeadReference
    preprocessing: Preprocessing


def save_bundle(folder: Path, network: SheapNetwork, config: BundleConfig, *, half: bool = False) -> None:
    """Writes both files into an existing folder. half: floats in half precision, as they are shipped."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    # What was looked for on the head model goes along: found again elsewhere, it could differ in a triangle.
    tensors |= {f"{MADE}{name}": value.cpu().contiguous() for name, value in made_tensors(network.head.data).items()}
    save_file(tensors, folder / WEIGHTS_NAME, metadata={"format": config.format})
    (folder / CONFIG_NAME).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_bundle(folder: Path, head_model: Path | None = None) -> tuple[SheapNetwork, BundleConfig]:
    """The network, in evaluation mode, and its configuration.

    head_model: the file it was trained with, where that is not the open head. Raises ValueError naming the file when
    something is missing, altered or does not belong together.
    """
    config = read_bundle_config(folder)
    given = HeadReference.of(head_model)
    if given.sha256 != config.head_model.sha256:
        wanted = f"'{config.head_model.name}', pass its path"
        if config.head_model.shipped:
            wanted = "the open head (to have answers in another head's parameters: --head)"
            wanted = "an earlier open head" if given.shipped else wanted
        raise ValueError(f"{folder / CONFIG_NAME}: trained with another head model than {given.name}: {wanted}")
    weights = folder / WEIGHTS_NAME
    try:
        stored = load_file(weights)
        made = {name.removeprefix(MADE): stored.pop(name) for name in list(stored) if name.startswith(MADE)}
        head = HeadModel.load(head_model)
        head = HeadModel(with_made(head.data, made)) if made else head
        network = SheapNetwork(config.network, head, image_feature_size=config.image_feature_size)
        network.load_state_dict(stored)
    except FileNotFoundError:
        raise ValueError(f"{weights}: missing") from None
    except Exception as error:
        raise ValueError(f"{weights}: does not fit {CONFIG_NAME} ({' '.join(str(error).split())[:200]})") from None
    return network.eval().requires_grad_(False), config


def read_bundle_config(folder: Path) -> BundleConfig:
    """`config.json` of a model folder. Raises ValueError naming the file when it is missing or wrong."""
    path = folder / CONFIG_NAME
    try:
        return BundleConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: missing; is this a model folder?") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None
