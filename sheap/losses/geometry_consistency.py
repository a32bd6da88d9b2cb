"""The key term: Gaussians must lie on the mesh, so that what the image says about them reaches the head model."""

from __future__ import annotations

from torch import Tensor


def normal_consistency(gaussian_normals: Tensor, face_normals: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean (1 - cosine) of Gaussians' unit normals against their parent faces', both [..., G, 3]. Scalar.

    weights [..., G], at least 0: opacities without gradient, so that the transparent do not count.
    """
    cosine = (gaussian_normals * face_normals).sum(-1)
    return ((1 - cosine) * weights).sum() / weights.sum().clamp_min(1e-8)


def depth_consistency(gaussian_depth: Tensor, mesh_depth: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean absolute difference of depth maps [..., H, W, 1], in metres. Scalar.

    weights [..., H, W, 1], at least 0: where both were seen (alpha without gradient times the mesh's mask).
    """
    return ((gaussian_depth - mesh_depth).abs() * weights).sum() / weights.sum().clamp_min(1e-8)
