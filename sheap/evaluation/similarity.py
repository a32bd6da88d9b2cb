"""Similarity transforms of point sets: Procrustes alignment and the Rodrigues rotation, in numpy and float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation: rotation [3,3] (a reflection where det is -1), translation [3]."""

    scale: float
    rotation: Floats
    translation: Floats

    def apply(self, points: Floats) -> Floats:
        """Transformed points [...,3]."""
        return self.scale * (points @ self.rotation.T) + self.translation

    def after(self, first: Similarity) -> Similarity:
        """The transform that does `first` and then this one."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * (self.rotation @ first.translation) + self.translation,
        )

    @property
    def is_reflection(self) -> bool:
        """Whether the transform mirrors."""
        return bool(np.linalg.det(self.rotation) < 0)


def procrustes(target: NDArray[np.floating], source: NDArray[np.floating], allow_reflection: bool = True) -> Similarity:
    """The similarity that best brings `source` [P,3] onto `target` [P,3] in the sense of least squares (Gower 1975).

    With `allow_reflection` the orthogonal part may mirror where that fits better, as NoW's alignment does; without it
    the part is a rotation. Arithmetic stays in the inputs' precision up to the product of the two point sets (NoW's
    scan landmarks are float32, and that rounding is part of its figures). Raises ValueError for coinciding points.
    """
    target_mean, source_mean = target.mean(axis=0), source.mean(axis=0)
    target_centred, source_centred = target - target_mean, source - source_mean
    target_norm, source_norm = np.sqrt((target_centred**2).sum()), np.sqrt((source_centred**2).sum())
    if not (target_norm > 0 and source_norm > 0):
        raise ValueError(f"procrustes: all {len(target)} points of one side coincide")
    left, singular, right = np.linalg.svd((target_centred / target_norm).T @ (source_centred / source_norm))
    if not allow_reflection and np.linalg.det(left @ right) < 0:
        left[:, -1] *= -1
        singular[-1] *= -1
    rotation = np.asarray(left @ right, dtype=np.float64)
    scale = float(singular.sum() * target_norm / source_norm)
    return Similarity(scale, rotation, np.asarray(target_mean - scale * (rotation @ source_mean), dtype=np.float64))


def skew(vector: Floats) -> Floats:
    """The matrix [3,3] of the cross product with `vector` [3] from the left."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def rodrigues(rotvec: Floats) -> Floats:
    """Rotation matrix [3,3] of a rotation vector [3] (radians)."""
    angle = float(np.linalg.norm(rotvec))
    if angle < 1e-12:
        return np.eye(3) + skew(rotvec)
    cross = skew(rotvec / angle)
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def rodrigues_left_jacobian(rotvec: Floats) -> Floats:
    """J [3,3] with R(r + d) = R(J d) R(r) to first order in d (Sola et al. 2018, equation 145)."""
    angle = float(np.linalg.norm(rotvec))
    if angle < 1e-6:
        return np.eye(3) + 0.5 * skew(rotvec)
    cross = skew(rotvec / angle)
    return np.eye(3) + (1.0 - np.cos(angle)) / angle * cross + (1.0 - np.sin(angle) / angle) * (cross @ cross)
