"""FaRL and CLIP weights for the published encoder, from a file that the user names."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from sheap.networks.compact_encoder import CompactEncoder
from sheap.networks.encoder import TokenEncoder

_OPENAI_LAYER_NAMES = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def load_encoder_weights(encoder: CompactEncoder | TokenEncoder, path: Path) -> int:
    """Fills the encoder's transformer from `path` and returns how many of its tensors were replaced.

    Reads .safetensors, or a .pth/.pt through torch's restricted unpickler (tensors only). Two layouts are known:
    OpenAI's (FaRL's `visual.transformer.resblocks.*`, with or without `state_dict` around it) and transformers'
    CLIPVisionModel. Every tensor of the transformer must be there with its shape, and the encoder's values are compared
    with the file's afterwards; the five tokens and their heads keep their initial values.
    Raises ValueError naming the file and the first tensor that is missing or misshapen; OSError when unreadable.
    """
    if not isinstance(encoder, TokenEncoder) or encoder.config.stem != "patches":
        raise ValueError(f"{path}: encoder weights fit the `patches` stem alone (the published preset)")
    converted = _convert(_read_tensors(path), path)
    own = {name: tensor for name, tensor in encoder.state_dict().items() if name != "tokens"}
    for name, tensor in own.items():
        if name not in converted:
            raise ValueError(f"{path}: no tensor for the encoder's '{name}'; is this a FaRL or CLIP vision model?")
        if converted[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: '{name}' has shape {list(converted[name].shape)}, the encoder needs {list(tensor.shape)}"
            )
        if not torch.isfinite(converted[name]).all():
            raise ValueError(f"{path}: '{name}' holds values that are not finite")
    encoder.load_state_dict({name: converted[name] for name in own}, strict=False)
    loaded = encoder.state_dict()
    for name in own:
        assert torch.equal(loaded[name].cpu(), converted[name].to(loaded[name].dtype)), name
    return len(own)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: encoder weights not found")
    try:
        document = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: not readable as tensors ({type(error).__name__}: {error})") from None
    if isinstance(document, dict) and isinstance(document.get("state_dict"), dict):
        document = document["state_dict"]
    tensors = {str(k): v for k, v in document.items() if isinstance(v, Tensor)} if isinstance(document, dict) else {}
    if not tensors:
        raise ValueError(f"{path}: holds no named tensors")
    return tensors


def _convert(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Either layout's vision tensors under the encoder's names, in float32."""
    names = {re.sub(r"^(module\.)?(visual\.|vision_model\.)", "", key): key for key in tensors}
    converted: dict[str, Tensor] = {}
    is_openai = "conv1.weight" in names
    for name, key in names.items():
        value = tensors[key].float()
        if is_openai:
            converted.update(_from_openai(name, value))
        else:
            converted.update(_from_transformers(name, value))
    if not converted:
        raise ValueError(f"{path}: no vision transformer in FaRL's or transformers' CLIP layout found")
    return converted


def _from_openai(name: str, value: Tensor) -> dict[str, Tensor]:
    direct = {
        "conv1.weight": "patch_embedding.weight",
        "class_embedding": "class_embedding",
        "positional_embedding": "position_embedding",
        "ln_pre.weight": "pre_norm.weight",
        "ln_pre.bias": "pre_norm.bias",
    }
    if name in direct:
        return {direct[name]: value}
    match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)\.?(weight|bias)", name)
    if not match:
        return {}
    layer, part, kind = f"layers.layers.{match[1]}", match[2].rstrip("."), match[3]
    if part == "attn.in_proj_":
        query, key, values = value.chunk(3)
        return {f"{layer}.self_attn.{x}_proj.{kind}": v for x, v in (("q", query), ("k", key), ("v", values))}
    return {f"{layer}.{_OPENAI_LAYER_NAMES[part]}.{kind}": value} if part in _OPENAI_LAYER_NAMES else {}


def _from_transformers(name: str, value: Tensor) -> dict[str, Tensor]:
    direct = {
        "embeddings.patch_embedding.weight": "patch_embedding.weight",
        "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "position_embedding",
        "pre_layrnorm.weight": "pre_norm.weight",
        "pre_layrnorm.bias": "pre_norm.bias",
    }
    if name in direct:
        return {direct[name]: value}
    return {f"layers.{name.removeprefix('encoder.')}": value} if name.startswith("encoder.layers.") else {}
