from __future__ import annotations

import pytest


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> str:
    """Both backends that need no GPU."""
    return request.param
