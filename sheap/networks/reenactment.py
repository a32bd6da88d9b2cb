"""Pictures of two frames to the first one's head, moved and drawn as the second: the whole way, for training and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.networks.head_codes import HeadCodes, reenact
from sheap.networks.head_render import HeadRender, render_head
from sheap.networks.sheap_network import SheapNetwork


@dataclass(frozen=True)
class Reenactment:
    """source, target: codes of B pictures each. codes: the source's identity in the target's motion. head: those, drawn."""

    source: HeadCodes
    target: HeadCodes
    codes: HeadCodes
    head: HeadRender


@dataclass(frozen=True)
class Reenactor:
    """A network with the camera that it draws for, and frozen DINOv2 features where it was built for them (method.md, 2-8).

    Calling it does everything; the training step, which has other uses for the codes in between, takes its two halves.
    """

    network: SheapNetwork
    cameras: Cameras
    dinov2: Callable[[Tensor], Tensor] | None = None

    def __call__(self, source_images: Tensor, target_images: Tensor, background: Tensor) -> Reenactment:
        """Images [B, H, W, 3] in [0, 1] of the network's side; background [B, 3]. One view: drawn images are [B, H, W, ...]."""
        source, target = self.encode(source_images, target_images)
        codes = reenact(source, target)
        return Reenactment(source, target, codes, self.draw(codes, source_images, background))

    def encode(self, source_images: Tensor, target_images: Tensor) -> tuple[HeadCodes, HeadCodes]:
        """Codes of both, from one pass of the encoder."""
        images = torch.cat([source_images, target_images]).permute(0, 3, 1, 2).contiguous()
        source, target = self.network.encode(images).split([len(source_images), len(target_images)])
        return source, target

    def draw(self, codes: HeadCodes, identity_images: Tensor, background: Tensor) -> HeadRender:
        """Heads of `codes`; identity_images [B, H, W, 3]: the pictures that the identity came from."""
        image_features = self.dinov2(identity_images.permute(0, 3, 1, 2)) if self.dinov2 else None
        return render_head(self.network, codes, self.cameras, background, image_features)
