"""The encoder: tokens, presets, stems and weights from FaRL or CLIP files."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

from sheap.networks.config import EncoderConfig
from sheap.networks.encoder import TOKEN_NAMES, TokenEncoder, TokenHead
from sheap.networks.encoder_weights import load_encoder_weights

PATCHES = EncoderConfig(
    image_size=32, patch_size=8, stem="patches", stem_width=1,
    hidden_size=24, num_layers=2, num_heads=3, mlp_size=48, head_size=16,
)  # fmt: skip
CONVOLUTIONAL = PATCHES.model_copy(update={"stem": "convolutional", "stem_width": 8})
WITH_POINTS = CONVOLUTIONAL.model_copy(update={"face_points": True})


@pytest.mark.parametrize("config", [PATCHES, CONVOLUTIONAL, WITH_POINTS], ids=["patches", "convolutional", "points"])
def test_five_tokens_come_out_and_every_part_learns(config: EncoderConfig) -> None:
    torch.manual_seed(0)
    encoder = TokenEncoder(config, torch.randn(478, 3))
    tokens = encoder(torch.rand(2, 3, 32, 32))
    assert tokens.shape == (2, len(TOKEN_NAMES), 24)
    tokens.square().sum().backward()
    learning = [(name, p) for name, p in encoder.named_parameters() if "face_mesh" not in name]
    assert not any(p.requires_grad for name, p in encoder.named_parameters() if "face_mesh" in name)
    unmoved = [name for name, p in learning if p.grad is None or not p.grad.abs().max() > 0]
    # A constant added to every key changes no attention.
    assert [name for name in unmoved if "k_proj.bias" not in name] == []


def test_tokens_depend_on_the_image_and_differ_from_one_another() -> None:
    torch.manual_seed(0)
    encoder = TokenEncoder(CONVOLUTIONAL)
    first, second = encoder(torch.rand(2, 3, 32, 32))
    assert (first - second).abs().max() > 1e-4
    assert (first[0] - first[1]).abs().max() > 1e-3


def test_points_need_a_head_model_with_landmarks() -> None:
    with pytest.raises(ValueError, match="face_points: needs a head model with MediaPipe landmarks"):
        TokenEncoder(WITH_POINTS)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images: expected \[B, 3, 32, 32\]"):
        TokenEncoder(PATCHES)(torch.rand(1, 3, 48, 48))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image_size": 33}, "image_size 33"),
        ({"num_heads": 5}, "hidden_size 24"),
        ({"patch_size": 16, "image_size": 30}, "30"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EncoderConfig.model_validate(PATCHES.model_dump() | change)


def test_a_head_starts_at_its_constant() -> None:
    head = TokenHead(8, 8, 3, torch.tensor([1.0, -2.0, 3.0]))
    assert torch.equal(head(torch.randn(4, 8)), torch.tensor([1.0, -2.0, 3.0]).expand(4, 3))


@pytest.fixture(scope="module")
def clip() -> CLIPVisionModel:
    torch.manual_seed(3)
    model = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=3,
            image_size=32,
            patch_size=8,
            hidden_act="quick_gelu",
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def to_openai_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' names turned into OpenAI's, as FaRL's file has them."""
    out = {}
    state = {name.removeprefix("vision_model."): value for name, value in state.items()}
    top = {
        "embeddings.class_embedding": "class_embedding", "embeddings.patch_embedding.weight": "conv1.weight",
        "embeddings.position_embedding.weight": "positional_embedding", "pre_layrnorm.weight": "ln_pre.weight",
        "pre_layrnorm.bias": "ln_pre.bias",
    }  # fmt: skip
    for theirs, ours in top.items():
        out[f"visual.{ours}"] = state[theirs]
    parts = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
             "mlp.fc2": "mlp.c_proj"}  # fmt: skip
    for layer in range(2):
        theirs, ours = f"encoder.layers.{layer}.", f"visual.transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            out[f"{ours}attn.in_proj_{kind}"] = torch.cat([state[f"{theirs}self_attn.{x}_proj.{kind}"] for x in "qkv"])
            for part, name in parts.items():
                out[f"{ours}{name}.{kind}"] = state[f"{theirs}{part}.{kind}"]
    return out


@pytest.mark.parametrize("layout", ["transformers", "farl"])
def test_loaded_weights_compute_what_clip_computes(clip: CLIPVisionModel, layout: str, tmp_path) -> None:
    state = clip.state_dict()
    if layout == "transformers":
        path = tmp_path / "clip.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        path = tmp_path / "FaRL.pth"
        torch.save({"state_dict": to_openai_layout(state)}, path)
    encoder = TokenEncoder(PATCHES).eval()
    assert load_encoder_weights(encoder, path) > 20
    # Tokens that nothing may look at: the patches' outputs must then be CLIP's own.
    images = torch.rand(2, 3, 32, 32)
    normalised = (images - encoder.pixel_mean) / encoder.pixel_std
    known = encoder.patch_embedding(normalised).flatten(2).transpose(1, 2)
    known = torch.cat([encoder.class_embedding.expand(2, 1, -1), known], 1)
    ours = encoder.layers(inputs_embeds=encoder.pre_norm(known + encoder.position_embedding)).last_hidden_state
    theirs = clip(normalised).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_files_that_are_no_encoder_are_refused_by_name(clip: CLIPVisionModel, tmp_path) -> None:
    state = {name: value.contiguous() for name, value in clip.state_dict().items()}
    missing = tmp_path / "missing.safetensors"
    save_file({k: v for k, v in state.items() if "layers.1.mlp.fc2.weight" not in k}, missing)
    with pytest.raises(ValueError, match=r"missing.safetensors: no tensor for .*layers.1.mlp.fc2.weight"):
        load_encoder_weights(TokenEncoder(PATCHES), missing)
    other = tmp_path / "other.safetensors"
    save_file({"head.weight": torch.zeros(3)}, other)
    with pytest.raises(ValueError, match=r"other.safetensors: no vision transformer"):
        load_encoder_weights(TokenEncoder(PATCHES), other)
    bigger = PATCHES.model_copy(update={"mlp_size": 64})
    whole = tmp_path / "whole.safetensors"
    save_file(state, whole)
    with pytest.raises(ValueError, match=r"whole.safetensors: .* has shape"):
        load_encoder_weights(TokenEncoder(bigger), whole)
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"not a tensor file")
    with pytest.raises(ValueError, match=r"garbage.pth: not readable"):
        load_encoder_weights(TokenEncoder(PATCHES), garbage)
    with pytest.raises(ValueError, match="fit the `patches` stem alone"):
        load_encoder_weights(TokenEncoder(CONVOLUTIONAL), whole)
