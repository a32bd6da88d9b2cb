"""Truth travels with its frame: stored, read, moved and mirrored as the picture is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sheap.data import Frames, PairDataset, Pairs, ShardReader
from sheap.data.augment import PairAugmenter
from sheap.data.landmark_mirror import LANDMARK_MIRROR
from sheap.data.schema import TruthLayout
from sheap.data.truth import FrameTruth, TruthMirror, WantedTruth, truth_rows
from sheap.head import HeadModel, HeadParams
from sheap.head.door import head_sha256
from tests.data.made_clips import AUGMENT


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def layout(head) -> TruthLayout:
    sha256 = head_sha256(None)
    return TruthLayout(head_sha256=sha256, num_shape=head.num_shape, num_expression=head.num_expression)


def made_params(head: HeadModel, count: int, seed: int = 0) -> HeadParams:
    generator = torch.Generator().manual_seed(seed)
    params = HeadParams.zeros(head, count)
    return params.map(lambda tensor: 0.3 * torch.randn(tensor.shape, generator=generator))


def made_rows(head: HeadModel, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    landmarks = rng.uniform(0, 64, (count, 478, 3)).astype(np.float32)
    return truth_rows(made_params(head, count, seed), landmarks, rng.random((count, 478)) < 0.7)


def test_what_was_stored_is_read_frame_by_frame(shard_folder, head, layout):
    rows = made_rows(head, 4)
    folder = shard_folder(num_clips=3, num_frames=4, truth=(layout, rows))
    reader = ShardReader(folder / "train")
    params = made_params(head, 4)
    for frame in (3, 0, 2):
        truth = reader.frame_truth(1, frame)
        assert truth is not None and float(truth.known) == 1
        assert torch.equal(truth.shape, params.shape[frame])
        assert torch.equal(truth.rotvecs, params.rotvecs()[frame])
        assert torch.equal(truth.head_params().translation, params.translation[frame])
        assert torch.equal(truth.seen, torch.from_numpy(rows[frame, -478:]))
        assert torch.equal(truth.landmarks.flatten(), torch.from_numpy(rows[frame, -4 * 478 : -478]))
    with pytest.raises(ValueError, match=r"truth\.npy: the file ends before frame 4"):
        reader.frame_truth(1, 4)


def test_a_pair_that_wants_truth_has_what_was_stored_of_its_frames(shard_folder, head, layout):
    rows = made_rows(head, 2)
    reader = ShardReader(shard_folder(num_clips=2, num_frames=2, truth=(layout, rows)) / "train")
    wanted = WantedTruth(layout, None)
    pair = PairDataset(reader, truth=wanted)[0]
    stored = torch.from_numpy(rows[:, : head.num_shape])
    for side in (pair.source, pair.target):
        assert float(side.truth.known) == 1
        assert any(torch.equal(side.truth.shape, shape) for shape in stored)


def test_clips_without_truth_carry_an_unknown_one_where_it_is_asked_for(shard_folder, layout):
    reader = ShardReader(shard_folder(num_clips=2, num_frames=3) / "train")
    assert reader.frame_truth(0, 0) is None
    assert PairDataset(reader)[0].source.truth is None
    pair = PairDataset(reader, truth=WantedTruth(layout, None))[0]
    assert float(pair.source.truth.known) == 0
    assert pair.source.truth.shape.shape == (layout.num_shape,)
    assert float(pair.source.truth.landmarks.abs().max()) == 0


def test_truth_of_another_head_model_is_refused(shard_folder, head, layout):
    other = layout.model_copy(update={"head_sha256": "0" * 64})
    reader = ShardReader(shard_folder(num_clips=2, num_frames=3, truth=(other, made_rows(head, 3))) / "train")
    with pytest.raises(ValueError, match="of another head model"):
        PairDataset(reader, truth=WantedTruth(layout, None))[0]


def test_landmarks_of_the_truth_move_with_the_picture(shard_folder, head, layout):
    """They are stored like detected ones, so the augmenter must move both alike, mirrored or not."""
    rows = made_rows(head, 3)
    reader = ShardReader(shard_folder(num_clips=1, num_frames=3, truth=(layout, rows)) / "train")
    truth = reader.frame_truth(0, 0)
    frame = Frames.from_arrays(*reader.image_and_mask(0, 0), truth.landmarks.numpy(), truth)
    augmenter = PairAugmenter(24, AUGMENT, TruthMirror(head, LANDMARK_MIRROR))
    mirrored = 0
    for seed in range(8):
        out = augmenter(Pairs(frame, frame), np.random.default_rng(seed))
        for side in (out.source, out.target):
            torch.testing.assert_close(side.truth.landmarks, side.landmarks)
        mirrored += not torch.equal(out.source.truth.shape, truth.shape)
    assert 0 < mirrored < 8


def test_a_mirrored_heads_truth_draws_the_mirrored_head(head):
    """Posed by mirrored parameters, every vertex lies where its partner's mirror image does."""
    params = made_params(head, 2, seed=4)
    rows = truth_rows(params, np.zeros((2, 478, 3), np.float32), np.arange(2 * 478).reshape(2, 478) % 3 == 0)
    pieces = torch.from_numpy(rows).split(
        [head.num_shape, head.num_expression, 2, 15, 3, 478 * 3, 478], dim=1
    )
    truth = FrameTruth(
        torch.ones(2), *pieces[:3], pieces[3].view(2, 5, 3), pieces[4], pieces[5].view(2, 478, 3), pieces[6]
    )
    mirrored = TruthMirror(head, LANDMARK_MIRROR)(truth)
    vertices = head(truth.head_params()).vertices
    wanted = vertices[:, head.mirror_vertex_ids] * torch.tensor([-1.0, 1.0, 1.0])
    found = head(mirrored.head_params()).vertices
    assert float((found - wanted).norm(dim=-1).max()) < 1e-6  # measured 7e-8
    assert torch.equal(mirrored.seen, truth.seen[:, torch.from_numpy(LANDMARK_MIRROR)])
