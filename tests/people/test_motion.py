from __future__ import annotations

import numpy as np
import pytest
import torch

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.people.motion import action_weights, params_from_actions, sample_motion


def test_motion_is_smooth_and_plausible(studio):
    head = studio.head
    for seed in range(4):
        params = sample_motion(np.random.default_rng(seed), head, np.zeros(300), 50, 25, yaw_range_deg=40, liveliness=1)
        assert params.batch_shape == (50,)
        for name in ("root_rotvec", "neck_rotvec", "jaw_rotvec"):
            track = getattr(params, name)
            assert track.norm(dim=-1).max() < np.radians(90), name
            # Between two frames at 25 a second a head turns by a few degrees, never by a jump.
            assert track.diff(dim=0).norm(dim=-1).max() < np.radians(9), name
        vertices = head(params).vertices
        assert vertices.diff(dim=0).norm(dim=-1).max() < 0.03
        assert vertices.std(dim=0).norm(dim=-1).max() > 1e-3
        assert params.eyelids.min() >= -0.16 and params.eyelids.max() <= 1.0


def test_seeds_move_differently_and_repeat(studio):
    def motion(seed):
        rng = np.random.default_rng(seed)
        return sample_motion(rng, studio.head, np.zeros(300), 10, 25, yaw_range_deg=40, liveliness=1)

    assert torch.equal(motion(1).expression, motion(1).expression)
    assert not torch.equal(motion(1).neck_rotvec, motion(2).neck_rotvec)


def test_zero_gaze_looks_straight_ahead_and_left_is_the_persons_left(studio):
    head = studio.head
    zeros = np.zeros((1, 3))

    def line_of_sight(gaze):
        params = params_from_actions(
            head,
            np.zeros(300),
            np.zeros((1, len(head.action_names))),
            np.zeros((1, 2)),
            zeros,
            zeros,
            np.array([gaze]),
            zeros,
        )
        axis = head.gaze_axes[0]
        return rotvec_to_matrix(params.eye_left_rotvec)[0] @ axis

    assert torch.allclose(line_of_sight((0.0, 0.0)), torch.tensor([0.0, 0, 1]), atol=0.005)
    assert line_of_sight((0.3, 0.0))[0] > 0.25
    assert line_of_sight((0.0, 0.2))[1] > 0.15


def test_a_smile_lifts_the_corners_of_the_mouth(studio):
    head = studio.head
    weights = action_weights(head, {"mouthSmile*": 1.0})[None]
    zeros = np.zeros((1, 3))
    params = params_from_actions(head, np.zeros(300), weights, np.zeros((1, 2)), zeros, zeros, np.zeros((1, 2)), zeros)
    moved = head.now_landmarks(head(params).vertices[0]) - head.now_landmarks(head.template)
    assert moved[5, 1] > 0.003 and moved[6, 1] > 0.003
    assert moved[:4].norm(dim=-1).max() < 0.002


def test_an_unknown_action_is_named(studio):
    with pytest.raises(ValueError, match="earWiggleLeft"):
        action_weights(studio.head, {"earWiggle*": 1.0})
