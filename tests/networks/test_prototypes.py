"""Densification: constant total, 1 to 6 a face, the right ones move, memory is carried, ranks agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sheap.networks.prototypes import (
    MAX_PER_FACE,
    MIN_PER_FACE,
    Prototypes,
    apply_change,
    carry_optimizer_state,
    plan_densification,
)


def made(num_faces: int = 10, per_face: int = 2, seed: int = 0) -> Prototypes:
    torch.manual_seed(seed)
    prototypes = Prototypes(num_faces, per_face, 4)
    prototypes.observe(torch.rand(num_faces * per_face), torch.rand(num_faces * per_face), 3)
    return prototypes


def plan(prototypes: Prototypes, count: int, seed: int = 0):
    return plan_densification(prototypes, count, noise_scale=0.1, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 6), st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 10**6)
)
def test_totals_and_bounds_hold_through_any_sequence(faces: int, per_face: int, moves: list[int], seed: int) -> None:
    prototypes = made(faces, per_face, seed)
    for number, count in enumerate(moves):
        change = plan(prototypes, count, seed + number)
        apply_change(prototypes, change)
        population = torch.bincount(prototypes.parents, minlength=faces)
        assert len(prototypes) == faces * per_face == int(population.sum())
        assert int(population.min()) >= MIN_PER_FACE and int(population.max()) <= MAX_PER_FACE
        torch.testing.assert_close(prototypes.barycentrics.sum(-1), torch.ones(len(prototypes)))
        assert prototypes.barycentrics.min() >= 0
        prototypes.observe(torch.rand(len(prototypes)), torch.rand(len(prototypes)), 2)


def test_the_faintest_goes_and_the_most_pulled_is_cloned() -> None:
    prototypes = Prototypes(4, 2, 3)
    opacity, gradient = torch.full((8,), 0.5), torch.zeros(8)
    opacity[5], gradient[2] = 0.01, 9.0
    prototypes.observe(opacity, gradient, 1)
    embeddings = prototypes.embeddings.detach().clone()
    change = plan(prototypes, 1)
    assert change.is_clone.nonzero().flatten().tolist() == [5]
    assert int(change.sources[5]) == 2
    apply_change(prototypes, change)
    assert int(prototypes.parents[5]) == 1
    assert 0 < (prototypes.embeddings[5] - embeddings[2]).abs().max() < 1
    kept = [k for k in range(8) if k != 5]
    assert torch.equal(prototypes.embeddings[kept], embeddings[kept])
    assert float(prototypes.visits.sum()) == 0


def test_optimiser_memory_moves_along_and_clones_start_without() -> None:
    prototypes = made()
    optimizer = torch.optim.AdamW(prototypes.parameters(), lr=0.1)
    prototypes.embeddings.square().sum().backward()
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[prototypes.embeddings].items()}
    change = plan(prototypes, 3)
    carry_optimizer_state(optimizer, prototypes, change)
    after = optimizer.state[prototypes.embeddings]
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(after[name][~change.is_clone], before[name][~change.is_clone])
        assert float(after[name][change.is_clone].abs().max()) == 0
    assert torch.equal(after["step"], before["step"])


def test_equal_records_give_equal_plans() -> None:
    first, second = plan(made(), 4, seed=7), plan(made(), 4, seed=7)
    assert torch.equal(first.sources, second.sources) and torch.equal(first.noise, second.noise)
    assert torch.equal(first.barycentrics, second.barycentrics)


@pytest.mark.parametrize("per_face", range(1, 7))
def test_anchors_lie_inside_their_face_and_apart(per_face: int) -> None:
    anchors = Prototypes(1, per_face, 2).barycentrics
    torch.testing.assert_close(anchors.sum(-1), torch.ones(per_face))
    assert anchors.min() > 0.1
    if per_face > 1:
        assert torch.pdist(anchors).min() > 0.1
