"""The average of weights against its recurrence written out with plain numbers."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from sheap.networks.sheap_network import SheapNetwork
from sheap.training.ema import WeightAverage


class Small(nn.Module):
    """Two parameters, a buffer of its own and a head whose buffer the copy shares."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([-4.0, 8.0]))
        self.register_buffer("count", torch.tensor([0.0]))
        self.head = nn.Module()
        self.head.register_buffer("template", torch.tensor([7.0]))


def test_parameters_trail_as_the_recurrence_says_and_buffers_follow_at_once() -> None:
    network = Small()
    average = WeightAverage(cast(SheapNetwork, network), decay=0.25)
    own = cast(Small, average.network)
    assert not own.training and network.training and average.num_updates == 0
    assert not any(p.requires_grad for p in own.parameters()) and all(p.requires_grad for p in network.parameters())
    assert own.head is network.head and own.first is not network.first and own.count is not network.count
    expected = [2.0, -4.0, 8.0]
    # (1 + n) / (10 + n) reaches a quarter at n = 2, from where on the decay is the configured one.
    for n, decay in enumerate([1 / 10, 2 / 11, 3 / 12, 0.25, 0.25]):
        with torch.no_grad():
            network.first += 1.0
            network.second *= -2.0
            network.count += 3.0
            network.head.template += 1.0
        average.update(cast(SheapNetwork, network))
        now = [*network.first.tolist(), *network.second.tolist()]
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, now, strict=True)]
        assert [*own.first.tolist(), *own.second.tolist()] == pytest.approx(expected, rel=1e-6)
        assert float(own.count) == 3.0 * (n + 1) and average.num_updates == n + 1
        assert float(network.head.template) == 8.0 + n, "what is shared is not written"


def test_a_network_with_more_buffers_than_its_average_is_refused() -> None:
    network = Small()
    average = WeightAverage(cast(SheapNetwork, network), decay=0.9)
    network.register_buffer("later", torch.zeros(1))
    with pytest.raises(ValueError, match="longer than"):
        average.update(cast(SheapNetwork, network))
