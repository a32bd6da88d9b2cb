"""What rendered frames teach: each term against its slow form, silent where nothing is known, and learnable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sheap.data.frames import Frames, Pairs
from sheap.data.truth import FrameTruth
from sheap.geometry.cameras import project, published_camera
from sheap.head import HeadModel, HeadParams
from sheap.losses.shape_metric import ShapeMetric
from sheap.networks.compact_encoder import POINT_UNIT
from sheap.networks.config import PRESETS, CompactConfig, NetworkConfig
from sheap.networks.sheap_network import SheapNetwork, start_translation_for
from sheap.training.landmark_head import landmark_head
from sheap.training.supervision import GAZE_SHARE, HIDDEN_POINT, MOTION_UNIT_M, face_motion, known_mean, truth_terms

SIZE = 48
NETWORK = NetworkConfig(
    encoder=CompactConfig(
        image_size=SIZE, coarse_size=32, coarse_channels=(8, 16), coarse_blocks=(1, 1), fine_size=32, fine_side_m=0.19,
        fine_channels=(8, 16), fine_blocks=(1, 1), coarse_features=32, fine_features=32, readings=1, evidence_points=12,
        evidence_channels=4, coarse_rank=16, fine_rank=16, appearance_rank=8, hidden_size=16, head_size=16,
    ),
    regressor=PRESETS["tiny"].regressor.model_copy(
        update={
            "feature_channels": 4, "uv_channels": (6, 6), "embedding_size": 4, "graph_width": 8, "graph_blocks": 1,
            "cross_attention_grid": 8, "cross_attention_heads": 2, "regions": ("nose",),
        }
    ),
    lighting_components=4,
)  # fmt: skip
PEOPLE = 3


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def cameras():
    return published_camera(SIZE)


@pytest.fixture
def network(head, cameras) -> SheapNetwork:
    torch.manual_seed(0)
    return SheapNetwork(NETWORK, head, start_translation=start_translation_for(cameras, 0.30, 0.005))


def made_pairs(head: HeadModel, cameras, known: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Pairs:
    """Two frames of each person as the fixed camera sees them; the pictures are noise."""
    generator = torch.Generator().manual_seed(5)
    shape = torch.randn(PEOPLE, head.num_shape, generator=generator)
    start = start_translation_for(cameras, 0.30, 0.005)
    frames = []
    for _ in range(2):
        params = HeadParams.zeros(head, PEOPLE).replace(
            shape=shape,
            expression=0.5 * torch.randn(PEOPLE, head.num_expression, generator=generator),
            jaw_rotvec=torch.tensor([0.1, 0.0, 0.0]).expand(PEOPLE, 3),
            eye_left_rotvec=0.1 * torch.randn(PEOPLE, 3, generator=generator),
            translation=start.expand(PEOPLE, 3),
        )
        pixels, _ = project(head.landmarks(head(params).vertices), cameras)
        landmarks = torch.cat([pixels[:, 0], torch.zeros(PEOPLE, 478, 1)], -1)
        truth = FrameTruth(
            torch.tensor(known), params.shape, params.expression, params.eyelids, params.rotvecs(), params.translation,
            landmarks, (torch.rand(PEOPLE, 478, generator=generator) < 0.8).float(),
        )  # fmt: skip
        images = torch.randint(0, 255, (PEOPLE, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)
        masks = torch.full((PEOPLE, SIZE, SIZE), 255, dtype=torch.uint8)
        frames.append(Frames(images, masks, landmarks, truth))
    return Pairs(*frames)


def terms_of(network, head, cameras, pairs):
    images = torch.cat([pairs.source.colors(), pairs.target.colors()]).permute(0, 3, 1, 2)
    source, target = network.encode(images).split([PEOPLE, PEOPLE])
    terms = truth_terms(network, landmark_head(head), cameras, ShapeMetric(head), source, target, pairs)
    return source, target, {name: term() for name, term in terms.items()}


def test_each_term_against_its_slow_form(network, head, cameras):
    for layer in network.heads.values():  # say something about every code
        torch.nn.init.normal_(layer.out.weight, std=0.1)
    known = (1.0, 0.0, 1.0)
    pairs = made_pairs(head, cameras, known)
    with torch.no_grad():
        source, target, terms = terms_of(network, head, cameras, pairs)
        metric = ShapeMetric(head)
        shape, landmarks, motion, weights = [], 0.0, [], 0.0
        for frames, codes in ((pairs.source, source), (pairs.target, target)):
            truth = frames.truth
            for b in range(PEOPLE):
                if not known[b]:
                    continue
                params, wanted = codes.params.index([b]), truth.head_params().index([b])
                shape.append(float(metric(params.shape, wanted.shape)))
                pixels, _ = project(head.landmarks(head(params).vertices), cameras)
                for k in range(478):
                    weight = 1.0 if truth.seen[b, k] else HIDDEN_POINT
                    landmarks += weight * float((pixels[0, 0, k] - truth.landmarks[b, k, :2]).abs().sum()) / SIZE
                    weights += weight
                moved, truly = (head.landmarks(head(face_motion(p)).vertices)[0] for p in (params, wanted))
                gaze = (params.rotvecs()[0, 3:] - wanted.rotvecs()[0, 3:]).abs().sum(-1).mean()
                motion.append(float((moved - truly).norm(dim=-1).mean() / MOTION_UNIT_M + GAZE_SHARE * gaze))
    assert float(terms["truth_shape"]) == pytest.approx(np.mean(shape), rel=1e-4)
    assert float(terms["truth_landmarks"]) == pytest.approx(landmarks / weights, rel=1e-4)
    assert float(terms["truth_motion"]) == pytest.approx(np.mean(motion), rel=1e-3)


def test_fused_shape_against_its_slow_form(network, head, cameras):
    """Tokens weighted by e^confidence, person by person; those without truth count nothing."""
    torch.nn.init.normal_(network.heads["shape"].out.weight, std=0.1)
    pairs, metric = made_pairs(head, cameras, (1.0, 0.0, 1.0)), ShapeMetric(head)
    images = torch.cat([pairs.source.colors(), pairs.target.colors()]).permute(0, 3, 1, 2)
    with torch.no_grad():
        source, target = network.encode(images).split([PEOPLE, PEOPLE])
        sure = torch.tensor([0.7, -0.2, -1.5])
        source = source.replace(look=source.look.replace(confidence=sure))
        target = target.replace(look=target.look.replace(confidence=-sure))
        terms = truth_terms(network, landmark_head(head), cameras, metric, source, target, pairs)
        errors = []
        for b in (0, 2):
            share = math.exp(sure[b]) / (math.exp(sure[b]) + math.exp(-sure[b]))
            token = share * source.look.tokens[b, 0] + (1 - share) * target.look.tokens[b, 0]
            errors.append(float(metric(network.heads["shape"](token[None])[0], pairs.source.truth.shape[b])))
        assert float(terms["truth_fused_shape"]()) == pytest.approx(np.mean(errors), rel=1e-4)


def test_points_against_their_slow_form(network, head, cameras):
    """Coarse points in three dimensions, fine ones in two at every reading; hidden points count less, unknown people nothing."""
    known = (1.0, 0.0, 1.0)
    pairs = made_pairs(head, cameras, known)
    with torch.no_grad():
        source, target, terms = terms_of(network, head, cameras, pairs)
    total, weights = 0.0, 0.0
    for frames, codes in ((pairs.source, source), (pairs.target, target)):
        for b in (0, 2):
            for k in range(478):
                weight = 1.0 if frames.truth.seen[b, k] else HIDDEN_POINT
                weights += weight
                earlier = codes.look.earlier
                looks = [(codes.look.coarse.places[b, k], codes.look.coarse.log_scales[b, k], 3)]
                looks += [(codes.look.fine.places[b, k], codes.look.fine.log_scales[b, k], 2)]
                assert earlier.places.shape[1] == NETWORK.encoder.readings == 1
                looks += [(earlier.places[b, 0, k], earlier.log_scales[b, 0, k], 2)]
                for place, log_scale, dims in looks:
                    apart = place[:dims] - frames.truth.landmarks[b, k, :dims] / SIZE
                    distance = math.sqrt(float((apart / POINT_UNIT).square().sum()) + 1e-6)
                    log_scale = float(log_scale)
                    total += weight * (distance / math.exp(log_scale) + dims * log_scale)
    assert float(terms["truth_points"]) == pytest.approx(total / weights, rel=1e-4)


def test_nothing_is_taught_where_nothing_is_known(network, head, cameras):
    pairs = made_pairs(head, cameras, (0.0, 0.0, 0.0))
    _, _, terms = terms_of(network, head, cameras, pairs)
    assert set(terms) == {"truth_shape", "truth_fused_shape", "truth_points", "truth_landmarks", "truth_motion"}
    sum(terms.values()).backward()
    for parameter in network.parameters():
        assert parameter.grad is None or float(parameter.grad.abs().max()) == 0
    with pytest.raises(ValueError, match="read without their truth"):
        bare = Pairs(pairs.source.replace(truth=None), pairs.target.replace(truth=None))
        terms_of(network, head, cameras, bare)


def test_pictures_of_one_person_are_fused_by_confidence(network):
    """A picture of no confidence counts nothing: the fused shape is the other one's."""
    with torch.no_grad():
        torch.nn.init.normal_(network.heads["shape"].out.weight, std=0.1)
        first, second = (network.encode(torch.rand(2, 3, SIZE, SIZE)) for _ in range(2))
        unsure = second.replace(look=second.look.replace(confidence=torch.full((2,), -1e4)))
        torch.testing.assert_close(network.fused_shape([first, unsure]), first.params.shape)
        torch.testing.assert_close(network.fused_shape([unsure, first]), first.params.shape)
        even = [codes.replace(look=codes.look.replace(confidence=torch.zeros(2))) for codes in (first, second)]
        token = (first.look.tokens[:, 0] + second.look.tokens[:, 0]) / 2
        torch.testing.assert_close(network.fused_shape(even), network.heads["shape"](token))
        plain = [codes.replace(look=None) for codes in (first, second)]
        torch.testing.assert_close(network.fused_shape(plain), (first.params.shape + second.params.shape) / 2)


def test_a_few_people_are_learnt_by_heart(network, head, cameras):
    """All terms fall together when the same pairs come again and again."""
    pairs = made_pairs(head, cameras)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        _, _, terms = terms_of(network, head, cameras, pairs)
        loss = (
            terms["truth_shape"] + terms["truth_fused_shape"] + 0.1 * terms["truth_points"]
            + 5 * terms["truth_landmarks"] + 0.2 * terms["truth_motion"]
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    for name in ("truth_shape", "truth_fused_shape", "truth_landmarks", "truth_motion"):
        assert history[-1][name] < 0.6 * history[0][name], name
    assert history[-1]["truth_points"] < history[0]["truth_points"] - 1


def test_known_mean_of_none_is_nothing():
    assert float(known_mean(torch.tensor([3.0, 5.0]), torch.tensor([0.0, 1.0]))) == 5
    assert float(known_mean(torch.tensor([3.0, 5.0]), torch.zeros(2))) == 0
