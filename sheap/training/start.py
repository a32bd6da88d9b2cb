"""Training that goes on from a trained predictor: which of its weights predict, and holding them still for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from sheap.networks.sheap_network import SheapNetwork

APPEARANCE_HEADS = ("lighting", "features")
"""What they say only the Gaussians' regressor hears, which begins anew in every run."""


def predicting_parameters(network: SheapNetwork) -> dict[str, nn.Parameter]:
    """The trainable weights, by name, that decide which head a picture gives: the encoder's, and those of the heads of shape,
    expression and pose."""
    elsewhere = tuple(f"heads.{name}." for name in APPEARANCE_HEADS)
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and name.startswith(("encoder.", "heads.")) and not name.startswith(elsewhere)
    }


@contextmanager
def held(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, none of these trainable parameters gets a gradient, and nothing is computed for one."""
    kept = list(parameters)
    for parameter in kept:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in kept:
            parameter.requires_grad_(True)
