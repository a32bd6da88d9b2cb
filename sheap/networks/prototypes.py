"""Gaussian prototypes: which face each Gaussian belongs to, where on it, and what is learnt about it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MAX_PER_FACE = 6
MIN_PER_FACE = 1

_ANCHORS = {
    1: [(1 / 3, 1 / 3, 1 / 3)],
    2: [(1 / 2, 1 / 4, 1 / 4), (1 / 6, 5 / 12, 5 / 12)],
    3: [(2 / 3, 1 / 6, 1 / 6), (1 / 6, 2 / 3, 1 / 6), (1 / 6, 1 / 6, 2 / 3)],
}
_ANCHORS[4] = _ANCHORS[1] + _ANCHORS[3]
_ANCHORS[5] = _ANCHORS[2] + _ANCHORS[3]
_ANCHORS[6] = _ANCHORS[3] + [(1 / 6, 5 / 12, 5 / 12), (5 / 12, 1 / 6, 5 / 12), (5 / 12, 5 / 12, 1 / 6)]


class Prototypes(nn.Module):
    """G prototypes over F covered faces.

    embeddings: [G, E], learnt. parents: [G] int64, index into the covered faces. barycentrics: [G, 3], the anchor on the
    parent, where the UV map is sampled and from where the Gaussian's offset counts. opacity_sum, gradient_sum,
    visits: what densification decides by, gathered since it last did.
    """

    parents: Tensor
    barycentrics: Tensor
    opacity_sum: Tensor
    gradient_sum: Tensor
    visits: Tensor

    def __init__(self, num_faces: int, per_face: int, embedding_size: int) -> None:
        super().__init__()
        count = num_faces * per_face
        self.num_faces = num_faces
        self.embeddings = nn.Parameter(torch.randn(count, embedding_size) * 0.1)
        self.register_buffer("parents", torch.arange(num_faces).repeat_interleave(per_face))
        self.register_buffer("barycentrics", torch.tensor(_ANCHORS[per_face]).repeat(num_faces, 1))
        for name in ("opacity_sum", "gradient_sum", "visits"):
            self.register_buffer(name, torch.zeros(count))

    def __len__(self) -> int:
        return len(self.parents)

    @torch.no_grad()
    def observe(self, opacities: Tensor, positional_gradients: Tensor, num_views: Tensor | float) -> None:
        """Adds to the records what a step has seen: sums over its views of opacities [G] and of lengths of positional
        gradients [G], and the number of views."""
        self.opacity_sum += opacities
        self.gradient_sum += positional_gradients
        self.visits += num_views


@dataclass(frozen=True)
class PrototypeChange:
    """One densification. sources [G]: the row each prototype takes its values from. is_clone [G]: True where that row is
    another's copy. noise [G, E] and barycentrics [G, 3]: what is added to clones, and every prototype's new anchor."""

    sources: Tensor
    is_clone: Tensor
    noise: Tensor
    barycentrics: Tensor


@torch.no_grad()
def plan_densification(
    prototypes: Prototypes, num_moved: int, *, noise_scale: float, generator: torch.Generator
) -> PrototypeChange:
    """Drops up to `num_moved` prototypes of lowest mean opacity and clones as many of largest mean positional gradient.

    The total stays constant and every face keeps 1 to 6 (method.md, 10). Faces at a bound are passed over, so fewer may
    move than asked. A pure function of the records and the generator (on the CPU): ranks that summed their records plan
    the same.
    """
    parents = prototypes.parents.cpu()
    visits = prototypes.visits.cpu().clamp_min(1)
    opacity = prototypes.opacity_sum.cpu() / visits
    gradient = prototypes.gradient_sum.cpu() / visits
    by_opacity = opacity.argsort(stable=True)
    by_gradient = gradient.argsort(descending=True, stable=True)
    while True:
        population = torch.bincount(parents, minlength=prototypes.num_faces)
        dropped = _take(by_opacity, parents, population, num_moved, step=-1, bound=MIN_PER_FACE)
        is_dropped = torch.zeros(len(parents), dtype=torch.bool)
        is_dropped[dropped] = True
        candidates = by_gradient[~is_dropped[by_gradient]]
        cloned = _take(candidates, parents, population, len(dropped), step=1, bound=MAX_PER_FACE)
        if len(cloned) == len(dropped):
            break
        num_moved = len(cloned)

    sources = torch.arange(len(parents))
    sources[dropped] = cloned
    is_clone = torch.zeros(len(parents), dtype=torch.bool)
    is_clone[dropped] = True
    size = prototypes.embeddings.shape[1]
    noise = torch.randn(len(parents), size, generator=generator) * noise_scale * is_clone[:, None]
    # A clone is anchored half-way between its source's anchor and a random point of the face.
    corners = torch.rand(len(parents), 3, generator=generator).clamp_min(1e-6).log().neg()
    random_points = corners / corners.sum(-1, keepdim=True)
    anchors = prototypes.barycentrics.cpu()[sources]
    anchors = torch.where(is_clone[:, None], (anchors + random_points) / 2, anchors)
    device = prototypes.parents.device
    return PrototypeChange(sources.to(device), is_clone.to(device), noise.to(device), anchors.to(device))


def _take(order: Tensor, parents: Tensor, population: Tensor, count: int, *, step: int, bound: int) -> Tensor:
    """The first `count` of `order` whose faces are not at `bound`, counting every taken one in `population`."""
    taken: list[int] = []
    faces = parents.tolist()
    for index in order.tolist():
        if len(taken) == count:
            break
        if population[faces[index]] != bound:
            population[faces[index]] += step
            taken.append(index)
    return torch.tensor(taken, dtype=torch.int64)


@torch.no_grad()
def apply_change(prototypes: Prototypes, change: PrototypeChange) -> None:
    """Carries out a change and clears the records."""
    prototypes.embeddings.copy_(prototypes.embeddings[change.sources] + change.noise)
    prototypes.parents.copy_(prototypes.parents[change.sources])
    prototypes.barycentrics.copy_(change.barycentrics)
    for records in (prototypes.opacity_sum, prototypes.gradient_sum, prototypes.visits):
        records.zero_()


@torch.no_grad()
def carry_optimizer_state(optimizer: torch.optim.Optimizer, prototypes: Prototypes, change: PrototypeChange) -> None:
    """Moves the optimiser's per-row memory along; clones start with none, as a new parameter would."""
    for name, value in optimizer.state.get(prototypes.embeddings, {}).items():
        if isinstance(value, Tensor) and value.shape == prototypes.embeddings.shape:
            optimizer.state[prototypes.embeddings][name] = value[change.sources] * ~change.is_clone[:, None]
