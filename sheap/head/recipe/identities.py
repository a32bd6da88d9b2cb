"""Sampling adults and turning them into identity components with unit-variance coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head.recipe.axes import remove_rigid_motion
from sheap.head.recipe.source import PHENOTYPES, BaseMesh
from sheap.head.recipe.topology import HeadTopology

Array = NDArray[np.float64]

HEAD_CHANGE_PREFIXES = (
    "cheek",
    "chin",
    "ear-",
    "eyebrows",
    "eye-",
    "forehead",
    "head",
    "mouth",
    "neck",
    "nose",
    "measure-neck",
)
"""Local changes that touch the head (their names without the leading l-/r-)."""


@dataclass(frozen=True)
class IdentitySettings:
    """How adults are drawn. Phenotype spreads are standard deviations around 0.5 of MakeHuman's [0, 1] sliders."""

    num_samples: int = 1500
    seed: int = 0
    adult_age: tuple[float, float] = (2 / 3, 1.0)
    muscle_sd: float = 0.12
    weight_sd: float = 0.15
    height_sd: float = 0.10
    proportions_sd: float = 0.12
    race_concentration: float = 0.6
    gender_concentration: float = 0.5
    phenotype_shrink: float = 0.6
    local_sigma: float = 0.25
    local_cap_mm: float = 2.2
    asymmetry: float = 0.15


def head_changes(base: BaseMesh) -> dict[str, tuple[str, ...]]:
    """Local changes of the head: a name without its side -> its labels (two when sided)."""
    groups: dict[str, list[str]] = {}
    for label in base.local_changes:
        name = label[2:] if label[:2] in ("l-", "r-") else label
        if name.startswith(HEAD_CHANGE_PREFIXES):
            groups.setdefault(name, []).append(label)
    return {name: tuple(labels) for name, labels in groups.items()}


def sample_adults(base: BaseMesh, head: HeadTopology, settings: IdentitySettings) -> Array:
    """Points [S, P, 3] of randomly drawn adults, as `anny` places them (not yet aligned)."""
    rng = np.random.default_rng(settings.seed)
    count = settings.num_samples

    def slider(sd: float) -> Array:
        return (0.5 + settings.phenotype_shrink * sd * rng.standard_normal(count)).clip(0, 1)

    gender = rng.beta(settings.gender_concentration, settings.gender_concentration, count)
    age_low, age_high = settings.adult_age
    age_middle = (age_low + age_high) / 2
    races = rng.dirichlet([settings.race_concentration] * 3, count)
    # Shrinking pulls every phenotype towards the middle of its range, so that the whole cloud contracts.
    shrink = settings.phenotype_shrink
    phenotypes = {
        "gender": 0.5 + shrink * (gender - 0.5),
        "age": age_middle + shrink * (rng.uniform(age_low, age_high, count) - age_middle),
        "muscle": slider(settings.muscle_sd),
        "weight": slider(settings.weight_sd),
        "height": slider(settings.height_sd),
        "proportions": slider(settings.proportions_sd),
        **{name: 1 / 3 + shrink * (races[:, k] - 1 / 3) for k, name in enumerate(("african", "asian", "caucasian"))},
    }
    changes = {}
    for labels in head_changes(base).values():
        shared = rng.standard_normal(count)
        for label in labels:
            own = rng.standard_normal(count)
            share = settings.asymmetry if len(labels) == 2 else 0.0
            value = np.sqrt(1 - share**2) * shared + share * own
            reach_mm = 1e3 * np.linalg.norm(base.local_change_shapes(label)[:, head.base_ids], axis=-1).max()
            sigma = min(settings.local_sigma, settings.local_cap_mm / reach_mm)
            changes[label] = (sigma * value).clip(-1, 1)
    coefficients = base.identity_coefficients(phenotypes, changes)
    blendshapes = base.blendshapes[:, head.base_ids].reshape(len(base.labels), -1)
    used = np.abs(coefficients).max(axis=0) > 0
    return base.template[head.base_ids] + (coefficients[:, used] @ blendshapes[used]).reshape(count, -1, 3)


def average_adult(
    base: BaseMesh, head: HeadTopology, settings: IdentitySettings, changes: dict[str, float] | None = None,
    **phenotypes: float,
) -> Array:  # fmt: skip
    """Points [P, 3] of one adult with every slider in the middle but the named phenotypes and local changes, left-right
    symmetric."""
    middle = dict.fromkeys(PHENOTYPES, 0.5) | {"age": sum(settings.adult_age) / 2}
    middle |= dict.fromkeys(("african", "asian", "caucasian"), 1 / 3)
    values = {name: np.array([value]) for name, value in (middle | phenotypes).items()}
    local = {name: np.array([value]) for name, value in (changes or {}).items()}
    coefficients = base.identity_coefficients(values, local)[0]
    used = np.flatnonzero(coefficients)
    offsets = np.tensordot(coefficients[used], base.blendshapes[used][:, head.base_ids], axes=1)
    points = base.template[head.base_ids] + offsets
    return (points + mirrored(points, head.mirror)) / 2


def align(shapes: Array, weights: Array, mirror: NDArray[np.int64]) -> Array:
    """Shapes [S, P, 3] without their rigid motion: aligned twice to their own left-right symmetric mean."""
    for _ in range(2):
        mean = shapes.mean(axis=0)
        symmetric = (mean + mirrored(mean, mirror)) / 2
        shapes = remove_rigid_motion(shapes, symmetric, weights)
    return shapes


def held_out_errors(
    shapes: Array, mean: Array, components: Array, weights: Array, counts: tuple[int, ...]
) -> dict[str, float]:
    """Mean distance (mm) between unseen people's vertices and what the first so many components make of them.

    shapes [S, N, 3], placed as the model's; mean [N, 3] and components [N, 3, C] of the model; weights [N]: how much each vertex
    counts, those without not at all.
    """
    seen = weights > 0
    root = np.sqrt(weights[seen])[:, None]
    deviation = (shapes - mean)[:, seen]
    basis = components[seen]
    weighted, wanted = (root[..., None] * basis).reshape(-1, basis.shape[2]), (root * deviation).reshape(len(shapes), -1)
    errors = {}
    for count in counts:
        coefficients = np.linalg.lstsq(weighted[:, :count], wanted.T, rcond=None)[0]
        rest = deviation - np.tensordot(coefficients.T, basis[..., :count], axes=(1, 2))
        errors[str(count)] = float(1e3 * np.linalg.norm(rest, axis=-1).mean())
    return errors


def mirrored(points: Array, mirror: NDArray[np.int64]) -> Array:
    """Points [..., P, 3] of the head seen in a mirror (x negated, partners swapped)."""
    return points[..., mirror, :] * np.array([-1.0, 1.0, 1.0])


def identity_basis(
    shapes: Array, mirror: NDArray[np.int64], num_vertices: int, num_components: int
) -> tuple[Array, Array, Array]:
    """Mean [P, 3] of samples [S, P, 3] taken together with their mirror images, components [P, 3, C] and variances (see
    `principal_components`); the first `num_vertices` points decide, all alike."""
    mean = shapes.mean(axis=0)
    mean = (mean + mirrored(mean, mirror)) / 2
    deciding = (np.arange(shapes.shape[1]) < num_vertices).astype(np.float64)
    factor = (shapes - mean) / np.sqrt(len(shapes))
    return mean, *principal_components(factor, mirror, deciding, num_components)


def principal_components(
    factor: Array, mirror: NDArray[np.int64], weights: Array, num_components: int
) -> tuple[Array, Array]:
    """Components [P, 3, C] of a covariance, scaled so that coefficients have unit variance, and every component's
    variance (all of them, sorted, weighted square metres).

    The covariance is that of `factor` [R, P, 3] (the sum of its rows' outer products) averaged with its mirror image.
    So it splits into a symmetric and an antisymmetric part, each gets its own components, and every component mirrors
    exactly to plus or minus itself. weights [P]: how much each point decides what the components are; those without
    follow.
    """
    rows, num_points, _ = factor.shape
    reflected = mirrored(factor, mirror)
    deciding = np.flatnonzero(weights)
    root = np.sqrt(weights[deciding])[:, None]
    scales, directions = [], []
    for half in ((factor + reflected) / 2, (factor - reflected) / 2):
        seen = (half[:, deciding] * root).reshape(rows, -1)
        eigenvalues, eigenvectors = np.linalg.eigh(seen @ seen.T)
        # On the deciding points the columns of half^T U are as long as the component's deviation.
        keep = eigenvalues > 1e-12 * eigenvalues[-1]
        scales.append(eigenvalues[keep])
        directions.append(half.reshape(rows, -1).T @ eigenvectors[:, keep])
    variances = np.concatenate(scales)
    order = np.argsort(-variances)
    components = np.concatenate(directions, axis=1)[:, order[:num_components]]
    return components.reshape(num_points, 3, -1), variances[order]
