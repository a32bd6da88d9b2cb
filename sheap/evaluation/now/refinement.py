"""NoW's refinement: scale, rotation and translation that minimise the scan's distances to the predicted surface.

The unknowns p = (scale, rotation vector, translation) start at (1, 0, 0). The residuals are the distances of the scan's
vertices to the moved surface, and 100 (|s| - s), which keeps the scale positive. The solver is Powell's dogleg
(Lourakis and Argyros 2005) with the trust-region schedule of NoW's official tool, kept to the digit: it stops well
before convergence, so the schedule is part of the metric (a converged solver differs by up to 0.002 mm).

Instead of moving the mesh, the queries are moved by the inverse, so that one box tree serves all iterations; distances
and normal equations come out of one pass over the scan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import cg

from sheap.evaluation.closest_point import CHUNK_POINTS, TriangleTree, for_each_chunk
from sheap.evaluation.closest_point_kernels import accumulate_normal_equations
from sheap.evaluation.similarity import Similarity, rodrigues, rodrigues_left_jacobian

Floats = NDArray[np.float64]

FIRST_RADIUS = 0.1
GROW_ABOVE, GROW_STEP = 0.9, 2.5
SHRINK_BELOW, SHRINK_FACTOR = 0.05, 0.25
LEAST_IMPROVEMENT = 1e-4
"""An accepted step that lowers the sum of squares by less than this share is the last one."""
TINY = 1e-15
"""Bound below which the gradient, and the step relative to p, count as zero."""
MAX_ITERATIONS = 200
CG_TOLERANCE, CG_MAX_ITERATIONS = 1e-5, 2000
SCALE_GUARD = 100.0
ZERO_RMS_MM = 1e-9
"""Below this RMS distance the surfaces are the same to rounding, and there is no direction left to follow."""


@dataclass(frozen=True)
class Refinement:
    """transform: from the start to the refined place. distances [P] of the scan's points to the surface there.

    iterations: accepted steps. sums: sum of squares at the start and after every accepted step.
    """

    transform: Similarity
    rotvec: Floats
    distances: Floats
    iterations: int
    sums: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """The objective at one p: distances [P], normal matrix J'J [7,7], gradient -J'r [7], sum of squares."""

    distances: Floats
    normal: Floats
    gradient: Floats
    sum_squares: float


class ScanToSurface:
    """The objective: distances of scan points [P,3] to a surface moved by p, and their normal equations."""

    def __init__(self, points: Floats, tree: TriangleTree, num_threads: int = 1) -> None:
        self.points = np.ascontiguousarray(points, dtype=np.float64)
        self.tree = tree
        self.num_threads = num_threads
        # Faces found last time, where the next search starts from; -1 before the first.
        self._slots = np.full(len(points), -1, dtype=np.int64)

    def at(self, parameters: Floats) -> Evaluation:
        """Distances and normal equations at p [7]."""
        scale, rotvec, translation = parameters[0], parameters[1:4], parameters[4:7]
        rotation = rodrigues(rotvec)
        num_chunks = -(-len(self.points) // CHUNK_POINTS)
        distances = np.empty(len(self.points))
        normals, gradients = np.zeros((num_chunks, 7, 7)), np.zeros((num_chunks, 7))

        def accumulate(chunk: slice) -> None:
            index = chunk.start // CHUNK_POINTS
            accumulate_normal_equations(
                self.points[chunk], scale, rotation, translation, *self.tree.arrays,
                self._slots[chunk], distances[chunk], normals[index], gradients[index],
            )  # fmt: skip

        for_each_chunk(accumulate, len(self.points), self.num_threads, self.tree.time_limit)
        # The kernel turns about the moved origin; the chain rule to the rotation vector is the same for all points.
        chain = np.eye(7)
        chain[1:4, 1:4] = rodrigues_left_jacobian(rotvec)
        normal, gradient = chain.T @ normals.sum(axis=0) @ chain, chain.T @ gradients.sum(axis=0)
        guard = SCALE_GUARD * (abs(scale) - scale)
        guard_slope = SCALE_GUARD * (np.sign(scale) - 1.0)
        normal[0, 0] += guard_slope**2
        gradient[0] -= guard_slope * guard
        return Evaluation(distances, normal, gradient, float(distances @ distances) + guard**2)


def refine(
    points: Floats,
    tree: TriangleTree,
    num_threads: int = 1,
    with_scale: bool = True,
    on_step: Callable[[Floats, float], None] | None = None,
) -> Refinement:
    """Aligns the tree's mesh to scan points [P,3] (mm) by the official schedule.

    Without `with_scale` (the metrical variant) the scale stays 1. `on_step(p, sum of squares)` sees accepted steps.
    """
    objective = ScanToSurface(points, tree, num_threads)
    free = slice(0, 7) if with_scale else slice(1, 7)
    parameters = np.array([1.0, 0, 0, 0, 0, 0, 0])
    current = objective.at(parameters)
    sums = [current.sum_squares]
    radius = FIRST_RADIUS
    is_done = _is_solved(current, free)
    for _ in range(MAX_ITERATIONS):
        if is_done:
            break
        normal, gradient = current.normal[free, free], current.gradient[free]
        cauchy = gradient * (gradient @ gradient) / (gradient @ normal @ gradient)
        newton: Floats | None = None
        while True:
            if np.linalg.norm(cauchy) >= radius:
                step = radius / np.linalg.norm(cauchy) * cauchy
            else:
                if newton is None:
                    newton = cg(normal, gradient, rtol=CG_TOLERANCE, atol=0.0, maxiter=CG_MAX_ITERATIONS)[0]
                step = _dogleg(cauchy, newton, radius)
            size = float(np.linalg.norm(step))
            if size <= TINY * np.linalg.norm(parameters[free]):
                is_done = True
                break
            proposal = parameters.copy()
            proposal[free] += step
            trial = objective.at(proposal)
            gain = current.sum_squares - trial.sum_squares
            # A proposal without a finite value (the scale hit zero) counts as no gain, which shrinks the radius.
            is_better = bool(gain > 0)
            ratio = gain / (2.0 * gradient @ step - step @ normal @ step) if is_better else -np.inf
            if is_better:
                share = gain / current.sum_squares
                parameters, current = proposal, trial
                sums.append(trial.sum_squares)
                if on_step is not None:
                    on_step(parameters, trial.sum_squares)
                is_done = share < LEAST_IMPROVEMENT or _is_solved(current, free)
            if ratio > GROW_ABOVE:
                radius = max(radius, GROW_STEP * size)
            elif ratio < SHRINK_BELOW:
                radius *= SHRINK_FACTOR
            is_done = is_done or radius <= TINY * np.linalg.norm(parameters[free])
            if is_done or is_better:
                break
    transform = Similarity(float(parameters[0]), rodrigues(parameters[1:4]), parameters[4:7].copy())
    return Refinement(transform, parameters[1:4].copy(), current.distances, len(sums) - 1, tuple(sums))


@lru_cache(maxsize=1)
def compile_kernels() -> None:
    """Compiles, or loads, what a refinement calls, so that a time limit does not count it."""
    tree = TriangleTree(np.eye(3), np.array([[0, 1, 2]]))
    tree.query(np.zeros((1, 3)))
    ScanToSurface(np.zeros((1, 3)), tree).at(np.array([1.0, 0, 0, 0, 0, 0, 0]))


def _is_solved(evaluation: Evaluation, free: slice) -> bool:
    rms = np.sqrt(evaluation.sum_squares / len(evaluation.distances))
    return bool(np.abs(evaluation.gradient[free]).max() < TINY or rms < ZERO_RMS_MM)


def _dogleg(cauchy: Floats, newton: Floats, radius: float) -> Floats:
    """Gauss-Newton's step where it fits the trust region; else where the path from Cauchy's to it leaves the region."""
    if np.linalg.norm(newton) <= radius:
        return newton
    toward = newton - cauchy
    missing = radius**2 - cauchy @ cauchy
    root = np.sqrt((toward @ toward) * radius**2 + (newton @ cauchy) ** 2 - (newton @ newton) * (cauchy @ cauchy))
    return cauchy + missing / (toward @ cauchy + root) * toward
