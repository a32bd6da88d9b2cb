"""A convolutional encoder for processors: a coarse look at the whole crop, then a finer one at the face, turned upright.

Identity moves a face's points by less than a pixel of a small crop, so the second look spends its pixels on the face alone
and sees it in the same place, size and roll whoever it is. The coarse look finds that place by itself: it predicts the 478
landmarks, and a rigid fit of the mean head to them gives the window. Both looks predict the landmarks with an uncertainty,
as in "3D face reconstruction with dense landmarks" (arXiv 2204.02776); the tokens are read from the same features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sheap.networks.config import CompactConfig
from sheap.networks.face_window import FaceWindows, fit_windows
from sheap.precision import ComputesIn
from sheap.records import TensorRecord

NUM_TOKENS = 5
GEOMETRY_TOKENS = 3
"""The first three (shape, expression, pose); the others say how the head looks, which needs fewer numbers."""
POINT_UNIT = 0.02
"""Crop sides per unit of a predicted point's departure."""


@dataclass(frozen=True)
class DensePoints(TensorRecord):
    """Predicted landmarks of B crops: places [B, L, 3] in crop sides (x right, y down, from the top-left corner; z away from
    the viewer, 0 at the head's middle) and log_scales [B, L], the logarithm of each one's expected error in POINT_UNIT."""

    places: Tensor
    log_scales: Tensor

    def transposed(self) -> DensePoints:
        """With the first two dimensions exchanged."""
        return self.map(lambda tensor: tensor.transpose(0, 1))


@dataclass(frozen=True)
class CompactLook(TensorRecord):
    """tokens [B, 5, H] float32; confidence [B]: the logarithm of what the shape token counts beside other pictures' of the same
    person; coarse and fine points; earlier: the fine points [B, R, L, ..] before each of R further readings; windows:
    where the second look was taken."""

    tokens: Tensor
    confidence: Tensor
    coarse: DensePoints
    fine: DensePoints
    earlier: DensePoints | None
    windows: FaceWindows


class CompactEncoder(ComputesIn):
    """Crops to five tokens, in two looks.

    mean_points: [L, 3] metres, the mean head's landmarks in head axes (x to the person's left, y up, z out of the face).
    """

    def __init__(self, config: CompactConfig, mean_points: Tensor) -> None:
        super().__init__()
        self.config = config
        mean_points = mean_points.detach().float()
        self.register_buffer("mean_points", mean_points, persistent=False)
        num_points = len(mean_points)
        self.coarse = LookNetwork(config.coarse_size, config.coarse_channels, config.coarse_blocks, config.coarse_features)
        self.fine = LookNetwork(config.fine_size, config.fine_channels, config.fine_blocks, config.fine_features)
        self.coarse_points = PointsHead(config.coarse_features, config.coarse_rank, num_points, 3)
        self.fine_points = PointsHead(config.fine_features, config.fine_rank, num_points, 2)
        self.evidence = LocalEvidence(config, mean_points) if config.readings else None
        inputs = config.coarse_features + config.fine_features + FaceWindows.num_features
        self.geometry_tokens = nn.Linear(inputs, GEOMETRY_TOKENS * config.hidden_size)
        self.appearance_tokens = nn.Sequential(
            nn.Linear(inputs, config.appearance_rank),
            nn.Linear(config.appearance_rank, (NUM_TOKENS - GEOMETRY_TOKENS) * config.hidden_size),
        )
        self.confidence = nn.Linear(inputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of the configured side -> tokens [B, 5, hidden_size], float32.

        Raises ValueError for another size.
        """
        return self.look(images).tokens

    def look(self, images: Tensor, windows: FaceWindows | None = None) -> CompactLook:
        """Tokens and points of images [B, 3, S, S]. windows: where the face is; None: where the coarse look finds it."""
        side = self.config.image_size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images: expected [B, 3, {side}, {side}], got {list(images.shape)}")
        small = nn.functional.interpolate(images, (self.config.coarse_size,) * 2, mode="area")
        with self.computing(images):
            coarse = self.coarse(small).float()
            deviations, log_scales = self.coarse_points(coarse)
        coarse_points = DensePoints(self._mean_places() + POINT_UNIT * deviations.float(), log_scales.float())
        if windows is None:
            windows = fit_windows(coarse_points.places.detach(), self.mean_points)
        close = windows.cut(images, self.config.fine_size, self.config.fine_side_m)
        with self.computing(images):
            fine, maps = self.fine.with_maps(close)
        guesses = [self._fine_points(fine, windows)]
        for _ in range(self.config.readings):
            places = windows.inside(guesses[-1].places[..., :2].detach(), self.config.fine_side_m)
            with self.computing(images):
                assert self.evidence is not None, "built where there are readings"
                fine = fine + self.evidence(maps, places)
            guesses.append(self._fine_points(fine, windows))
        with self.computing(images):
            features = torch.cat([coarse, fine.float(), windows.features()], 1)
            tokens = torch.cat([self.geometry_tokens(features), self.appearance_tokens(features)], 1).float()
            confidence = self.confidence(features).float()
        tokens = tokens.unflatten(1, (NUM_TOKENS, -1))
        earlier = DensePoints.stack(guesses[:-1]).transposed() if len(guesses) > 1 else None
        return CompactLook(tokens, confidence.squeeze(1), coarse_points, guesses[-1], earlier, windows)

    def _fine_points(self, fine: Tensor, windows: FaceWindows) -> DensePoints:
        """What features [B, F] of the second look say."""
        with self.computing(fine):
            deviations, log_scales = self.fine_points(fine)
        return DensePoints(windows.place(self.mean_points, POINT_UNIT * deviations.float()), log_scales.float())

    def _mean_places(self) -> Tensor:
        """The mean head's landmarks [L, 3] in crop sides, as the crop rule shows it facing the camera."""
        flipped = self.mean_points * self.mean_points.new_tensor([1.0, -1.0, -1.0]) / CROP_SIDE_M
        return flipped + flipped.new_tensor([0.5, 0.5 + CROP_RISE_M / CROP_SIDE_M, 0.0])


CROP_SIDE_M = 0.30
CROP_RISE_M = 0.005
"""The crop rule (sheap.video.crops) in metres."""


class LookNetwork(nn.Module):
    """Residual convolutions over a small picture down to a map of a sixteenth of its side, and the features read from it.

    There are no batch statistics (resume and averaging stay exact) and no normalisation: residual branches start faint.
    Pixels are gathered four by four first, so that every convolution has enough channels to be worth a processor's while.
    """

    def __init__(self, size: int, channels: tuple[int, ...], blocks: tuple[int, ...], out_features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(STEM), nn.Conv2d(3 * STEM * STEM, channels[0], 3, padding=1)]
        for level, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            if level:
                layers.append(nn.Conv2d(channels[level - 1], width, 3, stride=2, padding=1))
            layers += [GainedBlock(width) for _ in range(count)]
        self.layers = nn.Sequential(*layers)
        cells = (size // STEM >> (len(channels) - 1)) ** 2
        narrow = max(8, MAP_NUMBERS // cells)
        # Where something is matters as much as what: the map is read cell by cell, not averaged.
        self.narrow = nn.Conv2d(channels[-1], narrow, 1)
        self.out = nn.Linear(narrow * cells, out_features)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, size, size] in [0, 1] -> features [B, out_features]."""
        return self.with_maps(pictures)[0]

    def with_maps(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features, and the map [B, C, h, w] of every level before the next halving."""
        cells, maps = (4 * pictures - 2).contiguous(memory_format=torch.channels_last), []
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                maps.append(cells)
            cells = layer(cells)
        narrow = nn.functional.relu(self.narrow(nn.functional.relu(cells)))
        return nn.functional.relu(self.out(narrow.flatten(1))), maps


MAP_NUMBERS = 1024
"""About how many numbers the last map is narrowed to before its cells are read together."""

STEM = 4
"""Pixels along a side that the first convolution takes together."""


class GainedBlock(nn.Module):
    """Two 3x3 convolutions on a branch with a learnt gain that starts low (after SkipInit, arXiv 2002.10444)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.tensor(0.25))

    def forward(self, cells: Tensor) -> Tensor:
        branch = self.second(nn.functional.relu(self.first(nn.functional.relu(cells))))
        return cells + self.gain * branch


class LocalEvidence(nn.Module):
    """What the finer maps hold at the points that were found, each read with weights of its own: whether a point lies where
    its feature does is seen there, and features read so are in the order of the face, wherever the face's parts are.

    Starts at nothing.
    """

    def __init__(self, config: CompactConfig, mean_points: Tensor) -> None:
        super().__init__()
        self.register_buffer("chosen", spread_points(mean_points, config.evidence_points), persistent=False)
        channels = sum(config.fine_channels[:-1])
        self.read = nn.Parameter(torch.randn(config.evidence_points, channels, config.evidence_channels) * channels**-0.5)
        self.bias = nn.Parameter(torch.zeros(config.evidence_points, 1, config.evidence_channels))
        self.out = nn.Linear(config.evidence_points * config.evidence_channels, config.fine_features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: list[Tensor], places: Tensor) -> Tensor:
        """Maps [B, C, h, w] and places [B, L, 2] of all points in them (-1 to 1) -> what it adds to the features [B, F]."""
        grid = places[:, self.chosen, None]
        seen = [nn.functional.grid_sample(cells, grid.to(cells), align_corners=False)[..., 0] for cells in maps]
        local = nn.functional.relu(torch.cat(seen, 1)).permute(2, 0, 1)
        read = nn.functional.relu(torch.baddbmm(self.bias.to(local), local, self.read.to(local)))
        return self.out(read.transpose(0, 1).flatten(1))


def spread_points(points: Tensor, count: int) -> Tensor:
    """Indices [count] of points [L, 3] that lie far from each other, farthest first."""
    chosen = [0]
    nearest = torch.full((len(points),), torch.inf)
    for _ in range(count - 1):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).norm(dim=1))
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


class PointsHead(nn.Module):
    """Features [B, F] to departures [B, L, dims] in POINT_UNIT and log_scales [B, L], through few numbers, as faces differ in
    few ways. Starts near no departure."""

    def __init__(self, feature_size: int, rank: int, num_points: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.inner = nn.Linear(feature_size, rank, bias=False)
        self.out = nn.Linear(rank, num_points * (dims + 1))
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        values = self.out(self.inner(features)).unflatten(1, (-1, self.dims + 1))
        return values[..., : self.dims], values[..., self.dims]
