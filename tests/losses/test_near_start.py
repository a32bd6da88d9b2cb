"""The distance from the start, number by number."""

from __future__ import annotations

import torch

from sheap.losses.near_start import near_start


def test_it_is_half_the_squared_distance_of_all_weights_together() -> None:
    generator = torch.Generator().manual_seed(0)
    now = [torch.randn(3, 4, generator=generator, requires_grad=True), torch.randn((), generator=generator)]
    then = [torch.randn(3, 4, generator=generator), torch.zeros(())]
    expected = 0.0
    for a, b in zip(now, then, strict=True):
        for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True):
            expected += (x - y) ** 2 / 2
    found = near_start(now, then)
    torch.testing.assert_close(float(found.detach()), expected, rtol=1e-6, atol=0)
    found.backward()
    torch.testing.assert_close(now[0].grad, (now[0] - then[0]).detach())
    assert float(near_start(then, then)) == 0
