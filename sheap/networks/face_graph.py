"""The graph of faces, and convolution over it: every Gaussian sees the mean of its 2-ring neighbourhood of faces."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn


def two_ring(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Which faces lie within two steps over shared edges of each face, itself included.

    faces: [F, 3] int64. Returns (starts [F + 1], neighbours [E]), int64: face i's ring is neighbours[starts[i]:starts[i+1]].
    The relation is symmetric.
    """
    corners = faces.cpu().numpy()
    count = len(corners)
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    _, edge_ids = np.unique(edges, axis=0, return_inverse=True)
    incidence = sparse.csr_matrix((np.ones(3 * count, np.float32), (np.tile(np.arange(count), 3), edge_ids.ravel())))
    one_step = incidence @ incidence.T
    ring = (one_step @ one_step).tocsr()
    ring.sort_indices()
    return torch.from_numpy(ring.indptr.astype(np.int64)), torch.from_numpy(ring.indices.astype(np.int64))


class NeighbourMean(nn.Module):
    """Mean over all Gaussians whose parent face is in the 2-ring of a Gaussian's own parent face.

    Works through the faces (sum to faces, spread over the ring, gather back), so that the ring of F faces serves any
    number of Gaussians and only `parents` changes when prototypes move.
    """

    def __init__(self, faces: Tensor) -> None:
        super().__init__()
        starts, neighbours = two_ring(faces)
        self.num_faces = len(faces)
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("neighbours", neighbours, persistent=False)

    def forward(self, nodes: Tensor, parents: Tensor) -> Tensor:
        """nodes [G, B, C] (float32), parents [G] int64 into the graph's faces -> [G, B, C]."""
        count, batch, width = nodes.shape
        per_face = nodes.new_zeros(self.num_faces, batch * width).index_add(0, parents, nodes.reshape(count, -1))
        population = torch.bincount(parents, minlength=self.num_faces).to(nodes.dtype)
        in_ring = _RingSum.apply(population[:, None], self.starts, self.neighbours).clamp_min(1)
        spread = _RingSum.apply(per_face, self.starts, self.neighbours) / in_ring
        return spread.index_select(0, parents).view(count, batch, width)


class _RingSum(torch.autograd.Function):
    """Sums rows [F, C] over every face's ring. The ring is symmetric, so the backward pass is the same sum."""

    @staticmethod
    def forward(context, rows: Tensor, starts: Tensor, neighbours: Tensor) -> Tensor:
        context.save_for_backward(starts, neighbours)
        return _ring_sum(rows, starts, neighbours)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _ring_sum(gradients[0].contiguous(), *ctx.saved_tensors), None, None


def _ring_sum(rows: Tensor, starts: Tensor, neighbours: Tensor) -> Tensor:
    return nn.functional.embedding_bag(neighbours, rows, starts, mode="sum", include_last_offset=True)


class GraphBlock(nn.Module):
    """Pre-activation residual block: x + W_out gelu(W_self norm(x) + W_ring mean over the 2-ring of norm(x))."""

    def __init__(self, width: int, use_neighbours: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, width)
        self.ring = nn.Linear(width, width, bias=False) if use_neighbours else None
        self.out = nn.Linear(width, width)

    def forward(self, nodes: Tensor, parents: Tensor, neighbour_mean: NeighbourMean) -> Tensor:
        """nodes [G, B, C] -> [G, B, C]."""
        normed = self.norm(nodes)
        mixed = self.own(normed)
        if self.ring is not None:
            mixed = mixed + self.ring(neighbour_mean(normed.float(), parents))
        return nodes + self.out(nn.functional.gelu(mixed))
