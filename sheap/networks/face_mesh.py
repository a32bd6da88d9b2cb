"""MediaPipe's face-landmark network in torch: frozen, pretrained knowledge of faces for encoders that learn from scratch.

Source: Grishchenko et al., "Attention Mesh" (arXiv 2006.10962); the weights are those of MediaPipe's Face Landmarker
(Apache-2.0), read by `face_mesh_weights`. The published encoder starts from FaRL, which saw 20 million faces; a small one
that starts from nothing needs far longer than minutes to find where things lie to a fraction of a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NUM_POINTS = 478
INPUT_SIZE = 256
"""Side of the pictures the network was trained on."""

FACE_CENTER = (0.502, 0.637)
FACE_SIDE = 0.88
"""Where head crops hold the face, in crop sides: the middle of the landmarks' box and 1.5 times its longer side, MediaPipe's
region. Crops are cut to put it there, so no detector is needed; means over the rendered clips."""

STAGES = ((16, 8), (32, 16), (64, 32), (128, 64), (128, 64), (128, 64), (128, 64))
"""Channels of each stage's blocks, outside and inside; a stage halves the side of the one before."""
BLOCKS_PER_STAGE = 4


class Bottleneck(nn.Module):
    """Narrow, look around, widen, beside the identity. With stride 2 it halves the side and may add channels (zeros beside
    the identity)."""

    def __init__(self, in_channels: int, inner: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(in_channels, inner, stride, stride)
        self.inner_slope = nn.PReLU(inner)
        self.around = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.widen = nn.Conv2d(inner, out_channels, 1)
        self.slope = nn.PReLU(out_channels)
        self.stride, self.new_channels = stride, out_channels - in_channels

    def forward(self, cells: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, H / stride, W / stride]."""
        beside = self.widen(self.around(self.inner_slope(self.narrow(cells))))
        if self.stride > 1:
            cells = nn.functional.max_pool2d(cells, self.stride)
        if self.new_channels:
            cells = nn.functional.pad(cells, (0, 0, 0, 0, 0, self.new_channels))
        return self.slope(cells + beside)


class FaceMesh(nn.Module):
    """The landmark network. Its parameters never train, but they are part of the weights: a bundle needs no other file."""

    def __init__(self) -> None:
        super().__init__()
        width, _ = STAGES[0]
        self.first = nn.Conv2d(3, width, 3, 2)
        self.first_slope = nn.PReLU(width)
        blocks: list[nn.Module] = []
        for number, (channels, channels_inside) in enumerate(STAGES):
            if number:
                # Where the side is halved, the narrow part keeps the channels of the stage before, up to 64.
                blocks.append(Bottleneck(width, min(width, 64), channels, 2))
            blocks += [Bottleneck(channels, channels_inside, channels, 1) for _ in range(BLOCKS_PER_STAGE)]
            width = channels
        self.blocks = nn.Sequential(*blocks)
        self.points = nn.Conv2d(width, 3 * NUM_POINTS, 2)
        self.requires_grad_(False)

    def forward(self, faces: Tensor) -> Tensor:
        """Pictures of faces [B, 3, 256, 256] in [0, 1], framed as MediaPipe's regions -> landmarks [B, 478, 3] px of them; z
        is negative towards the viewer."""
        cells = self.first_slope(self.first(nn.functional.pad(faces, (0, 1, 0, 1))))
        return self.points(self.blocks(cells)).reshape(-1, NUM_POINTS, 3)

    @torch.no_grad()
    def points_in_crops(self, crops: Tensor) -> Tensor:
        """Head crops [B, 3, S, S] in [0, 1] -> landmarks [B, 478, 3] in crop sides, x and y from the top left."""
        low = [center - FACE_SIDE / 2 for center in FACE_CENTER]
        steps = (torch.arange(INPUT_SIZE, device=crops.device, dtype=crops.dtype) + 0.5) / INPUT_SIZE * FACE_SIDE
        rows, columns = torch.meshgrid(2 * (low[1] + steps) - 1, 2 * (low[0] + steps) - 1, indexing="ij")
        grid = torch.stack([columns, rows], -1).expand(crops.shape[0], -1, -1, -1)
        faces = nn.functional.grid_sample(crops, grid, padding_mode="border", align_corners=False)
        faces = faces.contiguous(memory_format=torch.channels_last)
        points = self(faces) * (FACE_SIDE / INPUT_SIZE)
        return points + points.new_tensor([*low, 0.0])
