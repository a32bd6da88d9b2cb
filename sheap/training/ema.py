"""Exponential moving average of the network's weights: what validation, panels and the saved model use."""

from __future__ import annotations

import copy

import torch

from sheap.networks.sheap_network import SheapNetwork


class WeightAverage:
    """A frozen copy of `network` whose parameters trail it and whose buffers equal it; the head model is shared.

    Early on the average is short, min(decay, (1 + n) / (10 + n)) after n updates, so that it forgets the start.
    """

    def __init__(self, network: SheapNetwork, decay: float) -> None:
        shared = {id(network.head): network.head}
        self.network = copy.deepcopy(network, shared).eval().requires_grad_(False)
        self._decay = decay
        self.num_updates = 0

    @torch.no_grad()
    def update(self, network: SheapNetwork) -> None:
        """Takes in the network after one step."""
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        torch._foreach_lerp_(tuple(self.network.parameters()), tuple(network.parameters()), 1 - decay)
        for own, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            if own is not theirs:
                own.copy_(theirs)
