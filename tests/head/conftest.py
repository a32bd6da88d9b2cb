from __future__ import annotations

import pytest
import torch

from sheap.head import HeadModel

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def head() -> HeadModel:
    """The shipped open head."""
    return HeadModel.load()


@pytest.fixture(scope="session")
def identities(head: HeadModel) -> torch.Tensor:
    """Coefficients [8, S] of eight people."""
    return torch.randn(8, head.num_shape, generator=torch.Generator().manual_seed(0))
