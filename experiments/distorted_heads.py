"""Predictors whose mistakes are known: the truth of a rendered person, distorted in one way each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.nonrigid_error import graph_laplacian
from sheap.head import HeadModel

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """name; shape [S] and truth [N,3] (neutral vertices, mm) of the open head; seed: of the subject's distortions."""

    name: str
    shape: NDArray[np.float32]
    truth: Floats
    seed: int


@cache
def head_model() -> HeadModel:
    torch.set_num_threads(1)
    return HeadModel.load()


def neutral_mm(shape: NDArray[np.floating]) -> Floats:
    """Vertices [N,3] of an identity."""
    with torch.inference_mode():
        return 1000.0 * head_model().neutral(torch.from_numpy(shape)).double().numpy()


def blurred(steps: int) -> Callable[[Subject], Floats]:
    """The truth after so many steps of Laplacian smoothing: its scale is kept by the alignment, its detail is gone."""

    def predict(subject: Subject) -> Floats:
        laplacian = graph_laplacian(head_model().faces.numpy(), len(subject.truth))
        vertices = subject.truth
        degree = laplacian.diagonal()[:, None]
        for _ in range(steps):
            vertices = vertices - 0.5 * (laplacian @ vertices) / degree
        return vertices

    return predict


def noisy(spread_mm: float) -> Callable[[Subject], Floats]:
    """The truth with independent noise on every vertex."""
    return lambda subject: subject.truth + np.random.default_rng(subject.seed).normal(0, spread_mm, subject.truth.shape)


def scaled(factor: float) -> Callable[[Subject], Floats]:
    """The truth's coefficients times a factor: below one towards the mean head, above one a caricature."""
    return lambda subject: neutral_mm(np.float32(factor) * subject.shape)


def strayed(share: float) -> Callable[[Subject], Floats]:
    """The truth's coefficients mixed with a stranger's."""

    def predict(subject: Subject) -> Floats:
        stranger = np.random.default_rng(1000 + subject.seed).standard_normal(len(subject.shape)).astype(np.float32)
        return neutral_mm(np.float32(1 - share) * subject.shape + np.float32(share) * stranger)

    return predict


def slid(size_mm: float) -> Callable[[Subject], Floats]:
    """The true surface with its points displaced along it by a smooth field: right as a surface, wrong as a face."""

    def predict(subject: Subject) -> Floats:
        rng = np.random.default_rng(2000 + subject.seed)
        waves, phases = rng.normal(0, 1 / 35.0, (3, 4, 3)), rng.uniform(0, 2 * np.pi, (3, 4))
        field = np.stack([np.sin(subject.truth @ waves[k].T + phases[k]).mean(1) for k in range(3)], -1)
        moved = subject.truth + size_mm * field / np.sqrt((field**2).sum(1).mean())
        return TriangleTree(subject.truth, head_model().faces.numpy()).query(moved).points

    return predict


PREDICTORS: dict[str, Callable[[Subject], Floats]] = {
    "mean head": lambda subject: neutral_mm(np.zeros_like(subject.shape)),
    "blurred, 3 steps": blurred(3),
    "blurred, 12 steps": blurred(12),
    "noisy, 0.5 mm": noisy(0.5),
    "noisy, 1 mm": noisy(1.0),
    "coefficients x 0.5": scaled(0.5),
    "coefficients x 0.8": scaled(0.8),
    "coefficients x 1.3": scaled(1.3),
    "one third a stranger": strayed(1 / 3),
    "a stranger": strayed(1.0),
    "slid by 2 mm": slid(2.0),
    "slid by 4 mm": slid(4.0),
}
