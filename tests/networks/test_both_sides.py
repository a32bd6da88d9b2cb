"""Two looks at a crop, one of them in a mirror, and their mean."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sheap.head import HeadModel, HeadParams
from sheap.head.mirror import HeadMirror
from sheap.networks.both_sides import BothSides
from sheap.predictor import SheapPredictor


@pytest.fixture(scope="module")
def predictor() -> SheapPredictor:
    return SheapPredictor.load()


@pytest.fixture(scope="module")
def crops(predictor) -> torch.Tensor:
    return torch.rand(3, 3, predictor.image_size, predictor.image_size, generator=torch.Generator().manual_seed(1))


def made_params(head: HeadModel, count: int) -> HeadParams:
    generator = torch.Generator().manual_seed(4)
    return HeadParams.zeros(head, count).map(lambda tensor: 0.3 * torch.randn(tensor.shape, generator=generator))


def test_mirrored_parameters_draw_the_mirrored_head(predictor) -> None:
    head, params = predictor.network.head, made_params(predictor.network.head, 2)
    wanted = head(params).vertices[:, head.mirror_vertex_ids] * torch.tensor([-1.0, 1.0, 1.0])
    assert float((head(HeadMirror(head)(params)).vertices - wanted).norm(dim=-1).max()) < 1e-6  # measured 7e-8


def test_mirrored_twice_is_as_before(predictor) -> None:
    mirror, params = HeadMirror(predictor.network.head), made_params(predictor.network.head, 2)
    for name, value in mirror(mirror(params)).present().items():
        torch.testing.assert_close(value, getattr(params, name), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_crop_and_its_mirror_image_have_mirrored_answers(predictor, crops) -> None:
    """What one look does not give, the mean of both does exactly."""
    sides, mirror = predictor.sides, HeadMirror(predictor.network.head)
    once = BothSides(predictor.network, None)
    seen, mirrored = sides.params(crops), mirror(sides.params(crops.flip(-1)))
    torch.testing.assert_close(seen.shape, mirrored.shape, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen.root_rotvec, mirrored.root_rotvec, atol=1e-5, rtol=1e-5)
    apart = (once.params(crops).shape - mirror(once.params(crops.flip(-1))).shape).abs().max()
    assert float(apart) > 1e-2


@torch.inference_mode()
def test_it_is_the_mean_of_two_predictions_and_of_two_fused_shapes(predictor, crops) -> None:
    network, mirror = predictor.network, HeadMirror(predictor.network.head)
    looks = [network.encode(crops), network.encode(crops.flip(-1))]
    found = predictor.predict(crops)
    for name, value in found.present().items():
        pair = getattr(looks[0].params, name), getattr(mirror(looks[1].params), name)
        torch.testing.assert_close(value, (pair[0] + pair[1]) / 2)
    # A picture counts alike in both sides.
    weights = torch.softmax(torch.stack([codes.look.confidence for codes in looks]).mean(0), 0)[:, None]
    fused = [network.shape_from((weights * codes.look.tokens[:, 0]).sum(0, keepdim=True)) for codes in looks]
    together = predictor.predict_person(crops)
    torch.testing.assert_close(together.shape, ((fused[0] + mirror.shape(fused[1])) / 2).expand(3, -1))
    torch.testing.assert_close(together.expression, found.expression)


@torch.inference_mode()
def test_a_head_without_a_mirror_is_seen_once(predictor, crops) -> None:
    sides = dataclasses.replace(predictor.sides, mirror=None)
    assert torch.equal(sides.params(crops).shape, predictor.network.encode(crops).params.shape)
    head = HeadModel.load()
    head.mirror_vertex_ids = None
    with pytest.raises(ValueError, match="does not say which vertices mirror each other"):
        HeadMirror(head)
