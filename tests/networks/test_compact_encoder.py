"""The two looks: where the second one goes, what it can tell, and that both learn."""

from __future__ import annotations

import pytest
import torch

from sheap.head import HeadModel
from sheap.losses.dense_points import dense_points_loss
from sheap.networks.compact_encoder import NUM_TOKENS, POINT_UNIT, CompactEncoder, LocalEvidence, spread_points
from sheap.networks.config import CompactConfig
from sheap.networks.encoder_weights import load_encoder_weights
from sheap.networks.face_window import fit_windows

CONFIG = CompactConfig(
    image_size=64, coarse_size=32, coarse_channels=(8, 16), coarse_blocks=(1, 1), fine_size=48, fine_side_m=0.19,
    fine_channels=(8, 16), fine_blocks=(1, 1), coarse_features=32, fine_features=32, readings=2, evidence_points=12,
    evidence_channels=4, coarse_rank=16, fine_rank=16, appearance_rank=8, hidden_size=24, head_size=24,
)  # fmt: skip


@pytest.fixture(scope="module")
def mean_points() -> torch.Tensor:
    head = HeadModel.load()
    return head.landmarks(head.template)


@pytest.fixture
def encoder(mean_points) -> CompactEncoder:
    torch.manual_seed(0)
    return CompactEncoder(CONFIG, mean_points)


def test_shapes_and_the_wrong_size(encoder):
    tokens = encoder(torch.rand(2, 3, 64, 64))
    assert tokens.shape == (2, NUM_TOKENS, 24)
    assert tokens.dtype == torch.float32
    with pytest.raises(ValueError, match=r"\[B, 3, 64, 64\]"):
        encoder(torch.rand(2, 3, 32, 32))


def test_an_untaught_look_expects_the_mean_head_facing_the_camera(encoder, mean_points):
    """The window is then upright and of the crop rule's size: what everything is learnt from must not start elsewhere."""
    with torch.no_grad():
        look = encoder.look(torch.rand(3, 3, 64, 64))
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(3, 3, 3)
    torch.testing.assert_close(look.windows.rotation, flip, atol=0.05, rtol=0)
    torch.testing.assert_close(look.windows.scale, torch.full((3,), 1 / 0.30), atol=0.1, rtol=0)
    torch.testing.assert_close(look.fine.places[..., :2], look.coarse.places[..., :2], atol=0.01, rtol=0)


def test_the_second_look_follows_the_windows(encoder):
    """What lies outside a given window changes nothing in the second look's own points."""
    images = torch.rand(1, 3, 64, 64)
    windows = fit_windows(encoder._mean_places()[None], encoder.mean_points)
    centre, axes = windows.frame()
    half = 0.5 * CONFIG.fine_side_m * axes[0].abs().sum(1) + 2 / 64
    at = (torch.arange(64) + 0.5) / 64
    outside = ((at[None, :] - centre[0, 0]).abs() > half[0]) | ((at[:, None] - centre[0, 1]).abs() > half[1])
    assert 0.2 < float(outside.float().mean()) < 0.9
    changed = torch.where(outside, 1 - images, images)
    with torch.no_grad():
        first, second = encoder.look(images, windows), encoder.look(changed, windows)
    torch.testing.assert_close(first.fine.places, second.fine.places)
    assert not torch.allclose(first.tokens, second.tokens)  # the coarse look sees the change


def test_both_looks_learn_where_points_are(encoder):
    """A bright disc that moves with the face: after 60 steps both looks follow it better than the mean does."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=2e-3)
    at = (torch.arange(64) + 0.5) / 64
    errors = []
    for _ in range(60):
        shift = 0.06 * torch.randn(16, 2, generator=generator)
        places = encoder._mean_places() + torch.cat([shift, torch.zeros(16, 1)], 1)[:, None]
        middle = places[..., :2].mean(1)
        squared = (at[None, None, :] - middle[:, 0, None, None]) ** 2 + (at[None, :, None] - middle[:, 1, None, None]) ** 2
        images = torch.exp(-squared / (2 * 0.15**2))[:, None].expand(-1, 3, -1, -1)
        look = encoder.look(images)
        loss = sum(
            dense_points_loss(points.places[..., :2] / POINT_UNIT, places[..., :2] / POINT_UNIT, points.log_scales)
            for points in (look.coarse, look.fine)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append([float((p.places.detach() - places)[..., :2].norm(dim=-1).mean()) for p in (look.coarse, look.fine)])
    first, last = torch.tensor(errors[:5]).mean(0), torch.tensor(errors[-5:]).mean(0)
    assert (last < 0.6 * first).all(), (first, last)


def test_evidence_is_read_where_points_are_found(mean_points):
    """A bright cell in a map is seen by the point that lies in it, and by no other."""
    torch.manual_seed(0)
    evidence = LocalEvidence(CONFIG, mean_points)
    torch.nn.init.normal_(evidence.out.weight)
    dark, lit = torch.zeros(1, 8, 12, 12), torch.zeros(1, 8, 12, 12)
    lit[..., 3, 8] = 1.0
    cell = torch.tensor([(8 + 0.5) / 6 - 1, (3 + 0.5) / 6 - 1])
    elsewhere = torch.full((1, len(mean_points), 2), -0.5)
    at_cell = elsewhere.clone()
    at_cell[:, evidence.chosen[4]] = cell
    beside = elsewhere.clone()
    beside[:, next(k for k in range(len(mean_points)) if k not in evidence.chosen)] = cell
    with torch.no_grad():
        assert torch.equal(evidence([lit], elsewhere), evidence([dark], elsewhere))
        assert torch.equal(evidence([lit], beside), evidence([dark], elsewhere))
        assert not torch.allclose(evidence([lit], at_cell), evidence([dark], at_cell))


def test_evidence_says_nothing_before_it_is_taught(encoder):
    with torch.no_grad():
        look = encoder.look(torch.rand(2, 3, 64, 64))
    assert look.earlier.places.shape == (2, CONFIG.readings, len(encoder.mean_points), 3)
    for reading in range(CONFIG.readings):
        torch.testing.assert_close(look.earlier.places[:, reading], look.fine.places)


def test_without_readings_the_fine_points_are_the_first_guess(mean_points):
    encoder = CompactEncoder(CONFIG.model_copy(update={"readings": 0}), mean_points)
    assert encoder.look(torch.rand(1, 3, 64, 64)).earlier is None
    assert not any("evidence" in name for name in encoder.state_dict())


def test_spread_points_cover_a_line_from_its_ends_inwards():
    line = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [1.0, 0, 0], [0.5, 0, 0], [0.9, 0, 0]])
    assert spread_points(line, 3).tolist() == [0, 2, 3]
    assert sorted(spread_points(line, 5).tolist()) == [0, 1, 2, 3, 4]


def test_half_precision_changes_little(encoder):
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        exact = encoder(images)
        encoder.compute_dtype = torch.bfloat16
        rough = encoder(images)
    assert rough.dtype == torch.float32
    assert float((exact - rough).norm() / exact.norm()) < 0.015  # measured 0.005


def test_weights_of_a_published_encoder_do_not_fit(tmp_path, mean_points):
    with pytest.raises(ValueError, match=r"farl.pth: encoder weights fit the `patches` stem alone"):
        load_encoder_weights(CompactEncoder(CONFIG, mean_points), tmp_path / "farl.pth")
