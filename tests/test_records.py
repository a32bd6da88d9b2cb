"""Records of tensors: every way of moving, cutting and joining, on nested ones too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sheap.records import TensorRecord


@dataclass(frozen=True)
class Inner(TensorRecord):
    place: Tensor
    truth: Tensor | None


@dataclass(frozen=True)
class Outer(TensorRecord):
    inner: Inner
    weight: Tensor
    size: int


def made(count: int, start: int = 0, truth: bool = True) -> Outer:
    rows = torch.arange(start, start + count, dtype=torch.float32)
    return Outer(Inner(rows[:, None] * torch.tensor([1.0, 10.0]), rows + 100 if truth else None), rows - 5, 7)


def same(a: Outer, b: Outer) -> bool:
    truths = (a.inner.truth, b.inner.truth)
    return (
        torch.equal(a.inner.place, b.inner.place)
        and torch.equal(a.weight, b.weight)
        and (truths == (None, None) or torch.equal(*truths))
        and a.size == b.size == 7
    )


@pytest.mark.parametrize("truth", [True, False])
def test_cutting_and_joining_undo_each_other(truth: bool) -> None:
    whole = made(5, truth=truth)
    pieces = whole.split([2, 3])
    assert same(pieces[0], made(2, truth=truth)) and same(pieces[1], made(3, 2, truth=truth))
    assert same(Outer.concatenate(pieces), whole)
    assert same(whole.first(2), pieces[0]) and same(whole.index(slice(2, 5)), pieces[1])
    assert same(Outer.stack([whole.index(k) for k in range(5)]), whole)
    assert same(whole.rolled(), Outer.concatenate([pieces[0].index(slice(1, 2)), pieces[1], pieces[0].first(1)]))


def test_every_tensor_is_moved_and_the_rest_kept() -> None:
    moved = made(3).to(torch.float64)
    assert moved.inner.place.dtype == moved.inner.truth.dtype == moved.weight.dtype == torch.float64 and moved.size == 7
    doubled = made(3).map(lambda tensor: 2 * tensor)
    assert torch.equal(doubled.inner.truth, 2 * made(3).inner.truth)
    grown = made(3).map(lambda tensor: tensor.requires_grad_())
    assert grown.inner.place.requires_grad and not grown.detach().inner.place.requires_grad
    assert made(3).replace(size=8).size == 8


def test_records_that_differ_elsewhere_are_not_joined() -> None:
    with pytest.raises(ValueError, match="7 and 8"):
        Outer.concatenate([made(2), made(2).replace(size=8)])
