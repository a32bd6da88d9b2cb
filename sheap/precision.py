"""In which precision networks compute. Their weights and what leaves them are float32 in either case, and so is all geometry."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_precision(precision: Precision, device_type: str) -> torch.dtype:
    """`auto` is bfloat16 on a GPU ("cuda"), where it is several times as fast, and float32 elsewhere."""
    if precision == "auto":
        return torch.bfloat16 if device_type == "cuda" else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def computing_in(dtype: torch.dtype, device_type: str) -> AbstractContextManager[object]:
    """Within it torch runs matrix products in `dtype`; float32 also ends an autocast that a caller began."""
    if dtype == torch.float32 and torch.compiler.is_exporting():
        return nullcontext()  # torch.export begins none, and cannot write down one that ends
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=dtype != torch.float32)


class ComputesIn(nn.Module):
    """A module whose forward pass runs in `compute_dtype` (float32 until `set_compute_dtype` says otherwise).

    The dtype is a setting of the run and no part of the weights; copies of the module keep it.
    """

    compute_dtype: torch.dtype = torch.float32

    def computing(self, like: Tensor) -> AbstractContextManager[object]:
        """The context for the forward pass, on the device of `like`."""
        return computing_in(self.compute_dtype, like.device.type)


def set_compute_dtype(modules: Iterable[object], dtype: torch.dtype) -> None:
    """Has every `ComputesIn` within `modules` compute in `dtype`; whatever is no module is passed over."""
    for module in modules:
        for part in module.modules() if isinstance(module, nn.Module) else ():
            if isinstance(part, ComputesIn):
                part.compute_dtype = dtype
