"""torch.compile for the part of the network where it pays: the encoder, most of a published step's arithmetic."""

from __future__ import annotations

from sheap.networks.compact_encoder import CompactEncoder
from sheap.networks.sheap_network import SheapNetwork


def compile_encoder(network: SheapNetwork) -> None:
    """Compiles the encoder where it stands, at its first call. Names of weights, checkpoints and copies stay as they were;
    a copy (the average) is not compiled itself. The frozen face points and the compact encoder's fit of its window are left out:
    they are no bottleneck, and a singular value decomposition compiles to nothing better."""
    encoder = network.encoder
    for part in (encoder.coarse, encoder.fine) if isinstance(encoder, CompactEncoder) else (encoder,):
        part.compile()
