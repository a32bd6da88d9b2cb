from __future__ import annotations

import numpy as np
import pytest
import torch

from sheap.people.motion import sample_motion
from sheap.people.person import Person
from sheap.people.posing import PosedIdentity


def test_it_poses_as_the_head_model_does(studio, member):
    motion = sample_motion(np.random.default_rng(2), studio.head, member.shape, 12, 5, yaw_range_deg=60, liveliness=2.0)
    identity = PosedIdentity(studio.rig, torch.from_numpy(member.shape))
    for frame in range(12):
        params = motion.index(frame)
        vertices, attachments = identity.pose(params)
        with torch.inference_mode():
            expected = studio.head(params).vertices.numpy(), studio.head.attachments(params).numpy()
        assert np.abs(vertices - expected[0]).max() < 2e-5
        assert np.abs(attachments - expected[1]).max() < 2e-5


def test_a_residual_moves_the_surface_and_turns_with_the_head(studio, member):
    shape = torch.from_numpy(member.shape)
    motion = sample_motion(np.random.default_rng(2), studio.head, member.shape, 3, 1, yaw_range_deg=60, liveliness=2.0)
    params = motion.index(2)
    offsets = 0.003 * studio.normals * np.sin(80 * studio.template[:, 1:2])
    plain, moved = PosedIdentity(studio.rig, shape), PosedIdentity(studio.rig, shape, offsets)
    assert np.allclose(moved.rest - plain.rest, offsets, atol=1e-6)
    difference = moved.pose(params)[0] - plain.pose(params)[0]
    skull = studio.rigid_ids
    assert np.allclose(np.linalg.norm(difference, axis=1)[skull], np.linalg.norm(offsets, axis=1)[skull], atol=3e-4)
    assert not np.allclose(difference[skull], offsets[skull], atol=3e-4)
    with pytest.raises(ValueError, match="residual"):
        PosedIdentity(studio.rig, shape, offsets[:10])


def test_a_person_can_be_built_from_vertices_outside_the_basis(studio, member):
    residual = np.zeros_like(studio.template)
    residual[studio.soft_regions["nose"] > 0.5] = [0, 0, 0.004]
    person = Person(studio, member.shape, member.traits, member.looks_seed, residual=residual, texture_scale=0.5)
    plain = studio.head.neutral(torch.from_numpy(member.shape)).numpy()
    assert np.allclose(person.rest - plain, residual, atol=1e-6)
