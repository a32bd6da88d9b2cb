"""The graph of faces, and convolution over it: every Gaussian sees the mean of its 2-ring neighbourhood of faces."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn


def two_ring(faces: Tensor) -> Tensor:
    """Which faces lie within two steps over shared edges of each face, itself included.

    faces: [F, 3] int64. Returns a sparse CSR matrix [F, F] of ones (float32).
    """
    corners = faces.cpu().numpy()
    count = len(corners)
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    _, edge_ids = np.unique(edges, axis=0, return_inverse=True)
    face_ids = np.tile(np.arange(count), 3)
    incidence = sparse.csr_matrix((np.ones(3 * count, np.float32), (face_ids, edge_ids.ravel())))
    one_step = incidence @ incidence.T
    ring = (one_step @ one_step).astype(bool).astype(np.float32).tocsr()
    ring.sort_indices()
    return torch.sparse_csr_tensor(
        torch.from_numpy(ring.indptr.astype(np.int64)),
        torch.from_numpy(ring.indices.astype(np.int64)),
        torch.from_numpy(ring.data),
        size=(count, count),
    )


class NeighbourMean(nn.Module):
    """Mean over all Gaussians whose parent face is in the 2-ring of a Gaussian's own parent face.

    Works through the faces (sum to faces, spread over the ring, gather back), so that the ring of F faces serves any
    number of Gaussians and only `parents` changes when prototypes move. The ring is symmetric: it is its own transpose
    in the backward pass.
    """

    def __init__(self, faces: Tensor) -> None:
        super().__init__()
        ring = two_ring(faces)
        self.num_faces = len(faces)
        self.register_buffer("ring_rows", ring.crow_indices(), persistent=False)
        self.register_buffer("ring_columns", ring.col_indices(), persistent=False)

    def forward(self, nodes: Tensor, parents: Tensor) -> Tensor:
        """nodes [G, B, C] (float32), parents [G] int64 into the graph's faces -> [G, B, C]."""
        count, batch, width = nodes.shape
        ones = torch.ones(len(self.ring_columns), device=nodes.device)
        ring = torch.sparse_csr_tensor(
            self.ring_rows, self.ring_columns, ones, size=(self.num_faces, self.num_faces), check_invariants=False
        )
        per_face = nodes.new_zeros(self.num_faces, batch * width).index_add(0, parents, nodes.reshape(count, -1))
        population = torch.bincount(parents, minlength=self.num_faces).to(nodes.dtype)
        neighbours = (ring @ population[:, None]).clamp_min(1)
        spread = _SymmetricSum.apply(per_face, ring) / neighbours
        return spread.index_select(0, parents).view(count, batch, width)


class _SymmetricSum(torch.autograd.Function):
    """ring @ x for a symmetric sparse ring."""

    @staticmethod
    def forward(context, x: Tensor, ring: Tensor) -> Tensor:
        context.ring = ring
        return ring @ x

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return context.ring @ gradient, None


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
