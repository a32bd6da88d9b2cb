"""torch.compile for the part of the network where it pays: the encoder, most of a published step's arithmetic."""

from __future__ import annotations

from sheap.networks.sheap_network import SheapNetwork


def compile_encoder(network: SheapNetwork) -> None:
    """Compiles the encoder where it stands, at its first call. Names of weights, checkpoints and copies stay as they were;
    a copy (the average) is not compiled itself. The frozen face points are left out: they are no bottleneck, and a
    singular value decomposition compiles to nothing better."""
    network.encoder.compile()
