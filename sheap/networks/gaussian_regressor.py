"""The Gaussians regressor: identity features to Gaussians written in the frames of the head's faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sheap.head import HeadModel
from sheap.networks.attributes import NUM_ATTRIBUTES, GaussianAttributes, activate
from sheap.networks.config import INSIDE, OUTSIDE, RegressorConfig
from sheap.networks.face_graph import GraphBlock, NeighbourMean
from sheap.networks.prototypes import Prototypes
from sheap.networks.uv_generator import UvGenerator
from sheap.precision import ComputesIn


class GaussianRegressor(ComputesIn):
    """UV-map generator, prototypes and face-graph network (method.md, 5).

    faces: [F] int64, the covered faces of the head model; prototypes' `parents` index into them.
    UV places and the last layer are float32: bfloat16 tells neither two texels nor two small offsets apart.
    """

    def __init__(self, config: RegressorConfig, head: HeadModel, image_feature_size: int | None) -> None:
        super().__init__()
        assert head.uv_coords is not None and head.uv_faces is not None, "the network checks its head"
        covered = covered_faces(head, config.regions, config.without_regions)
        self.register_buffer("faces", covered, persistent=False)
        self.register_buffer("uv_corners", head.uv_coords[head.uv_faces[covered]].float(), persistent=False)
        self.uv_generator = UvGenerator(config, image_feature_size)
        self.prototypes = Prototypes(len(covered), config.gaussians_per_face, config.embedding_size)
        self.neighbour_mean = NeighbourMean(head.faces[covered])
        self.inward = nn.Linear(config.embedding_size + self.uv_generator.out_channels, config.graph_width)
        self.blocks = nn.ModuleList(
            GraphBlock(config.graph_width, config.network == "graph") for _ in range(config.graph_blocks)
        )
        self.norm = nn.LayerNorm(config.graph_width)
        self.outward = nn.Linear(config.graph_width, NUM_ATTRIBUTES)
        # Zero: an untrained network gives every Gaussian its documented start, a grey head.
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(self, features: Tensor, image_features: Tensor | None = None) -> GaussianAttributes:
        """Identity features [B, C, g, g] (and DINOv2 features [B, P, D], where built for them) -> attributes [B, G, ...]."""
        parents, barycentrics = self.prototypes.parents, self.prototypes.barycentrics
        uv_map = self.uv_generator(features, image_features)
        uv = (self.uv_corners[parents] * barycentrics[..., None]).sum(-2)
        # grid_sample counts rows from the top; UV has its origin at the bottom left.
        grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], -1)
        batch = len(uv_map)
        sampled = nn.functional.grid_sample(
            uv_map, grid.expand(batch, 1, -1, -1), align_corners=False, padding_mode="border"
        )
        # Gaussians first: the graph sums over rows.
        per_gaussian = sampled[:, :, 0].permute(2, 0, 1)
        embeddings = self.prototypes.embeddings[:, None].expand(-1, batch, -1)
        with self.computing(features):
            nodes = self.inward(torch.cat([embeddings, per_gaussian], -1)).float()
            for block in self.blocks:
                nodes = block(nodes, parents, self.neighbour_mean)
        raw = self.outward(self.norm(nodes)).transpose(0, 1)
        density = torch.bincount(parents, minlength=self.prototypes.num_faces)[parents].float()
        return activate(raw, density)


def covered_faces(head: HeadModel, regions: tuple[str, ...], without_regions: tuple[str, ...]) -> Tensor:
    """Indices [F'] of the faces with all corners in one of `regions` (every face when none is named), less those with all
    corners in one of `without_regions`. A head that does not name its outside and inside as the open head does is taken by
    what it names of them, less what no camera sees of it (`hidden`).

    Raises ValueError for another region that the head model does not have, and for a head that does not say what is hidden.
    """
    lacking = {*regions, *without_regions} & {*OUTSIDE, *INSIDE} - {*head.region_names}
    if lacking:
        if "hidden" not in head.region_names:
            raise ValueError(
                f"head model: names no region '{min(lacking)}' and does not say what no camera sees; "
                "'sheap head convert' looks for that"
            )
        regions = tuple(name for name in regions if name not in lacking)
        without_regions = (*(name for name in without_regions if name not in lacking), "hidden")

    def inside(names: tuple[str, ...]) -> Tensor:
        return torch.stack([head.region_faces(name) for name in names]).any(0)

    chosen = inside(regions) if regions else torch.ones(head.num_faces, dtype=torch.bool, device=head.faces.device)
    if without_regions:
        chosen = chosen & ~inside(without_regions)
    return chosen.nonzero()[:, 0]
