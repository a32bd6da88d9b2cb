"""Records of tensors that belong together: moved, cut and joined as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Self

import torch
from torch import Tensor


class TensorRecord:
    """Base of frozen dataclasses whose fields are tensors or records of tensors that share their leading dimensions.

    A field may also be None in all records that are put together. Anything else (a size, a name) is kept as it is.
    """

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same record with every tensor changed."""
        return type(self)(**{name: _mapped(value, change) for name, value in self._items()})

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Every tensor moved or converted as by `Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def detach(self) -> Self:
        """Every tensor cut from the autograd graph."""
        return self.map(Tensor.detach)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def index(self, item: Any) -> Self:
        """What `item` (an int, slice, mask or index tensor) picks from the leading dimensions."""
        return self.map(lambda tensor: tensor[item])

    def first(self, count: int) -> Self:
        """The first `count` along the leading dimension."""
        return self.index(slice(count))

    def rolled(self) -> Self:
        """Each row's place taken by the next one, the last by the first."""
        return self.map(lambda tensor: tensor.roll(-1, 0))

    def split(self, sizes: Sequence[int]) -> list[Self]:
        """Consecutive pieces along the leading dimension."""
        columns = {name: _split(value, sizes) for name, value in self._items()}
        return [type(self)(**{name: pieces[k] for name, pieces in columns.items()}) for k in range(len(sizes))]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """One after another along the leading dimension."""
        return cls._joined(parts, torch.cat)

    @classmethod
    def stack(cls, parts: Sequence[Self]) -> Self:
        """Side by side along a new leading dimension."""
        return cls._joined(parts, torch.stack)

    @classmethod
    def _joined(cls, parts: Sequence[Self], join: Callable[[list[Tensor]], Tensor]) -> Self:
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: _join(values, join) for name, values in columns.items()})

    def _items(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, TensorRecord):
        return value.map(change)
    return change(value) if isinstance(value, Tensor) else value


def _split(value: Any, sizes: Sequence[int]) -> Sequence[Any]:
    if isinstance(value, (TensorRecord, Tensor)):
        return value.split(list(sizes))
    return [value] * len(sizes)


def _join(values: list[Any], join: Callable[[list[Tensor]], Tensor]) -> Any:
    first = values[0]
    if isinstance(first, TensorRecord):
        return type(first)._joined(values, join)
    if isinstance(first, Tensor):
        return join(values)
    if any(value != first for value in values):
        raise ValueError(f"records that differ in {first!r} and {next(v for v in values if v != first)!r} cannot be put together")
    return first
