"""How faces of men and women, young and old, slight and heavy people of different ancestry differ on average.

MakeHuman's artists drew these differences; how large they are in life is published: about a tenth of the variance of
facial shape goes with sex and as much with body mass, less with adult age, somewhat more with ancestry (e.g. Claes et
al. 2014, White et al. 2021). So the directions are theirs and the sizes are set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head.recipe import identities
from sheap.head.recipe.source import BaseMesh
from sheap.head.recipe.topology import HeadTopology

Array = NDArray[np.float64]

ANCESTRIES = {"african": "african", "asian": "asian", "european": "caucasian"}
"""Traits and MakeHuman's names for them."""

FATTER = {
    "head-fat-incr": 1.0, "l-cheek-volume-incr": 0.5, "r-cheek-volume-incr": 0.5, "neck-double-incr": 0.5,
    "measure-neck-circ-incr": 0.3,
}  # fmt: skip
"""Local changes of a heavier face; MakeHuman's weight itself stops at the neck."""


@dataclass(frozen=True)
class TraitSettings:
    """Share of the face's variance that each trait explains, and the most of it that one direction of the standardised
    coefficients may hold (0.6: the groups' means lie 2 * sqrt(0.6 / 0.4) = 2.4 of their own standard deviations apart)."""

    shares: tuple[tuple[str, float], ...] = (("male", 0.11), ("age", 0.06), ("weight", 0.09), ("ancestry", 0.12))
    limits: tuple[tuple[str, float], ...] = (("male", 0.6), ("age", 0.4), ("weight", 0.4), ("ancestry", 0.5))


def contrasts(base: BaseMesh, head: HeadTopology, settings: identities.IdentitySettings) -> dict[str, Array]:
    """Displacements [P, 3] from one end of each trait to the other; of ancestries from the middle of all."""

    def adult(changes: dict[str, float] | None = None, /, **phenotypes: float) -> Array:
        return identities.average_adult(base, head, settings, changes, **phenotypes)

    young, old = settings.adult_age
    races = {}
    for name, phenotype in ANCESTRIES.items():
        others = {other: float(other == phenotype) for other in ANCESTRIES.values()}
        races[name] = adult(**others)
    middle = sum(races.values()) / len(races)
    return {
        "male": adult(gender=0.0) - adult(gender=1.0),
        "age": adult(age=old) - adult(age=young),
        "weight": adult(FATTER) - adult({label: -value for label, value in FATTER.items()}),
        **{name: points - middle for name, points in races.items()},
    }


def trait_directions(
    displacements: dict[str, Array], basis: Array, weights: Array, face: NDArray[np.bool_], settings: TraitSettings
) -> tuple[Array, dict[str, tuple[float, float]]]:
    """Directions [T, S] in the coefficients of `basis` [P, 3, S] for standardised traits (unit variance; the three
    ancestries' shares sum to a constant, so they correlate by -1/2), and by trait the share of the face's variance
    reached and of the variance in its strongest direction. displacements [P, 3] in the order of
    sheap.head.data.TRAIT_NAMES; weights [P].

    Of each displacement the basis keeps what its people can do: ridge regression, as weak as the limits allow for the
    share that is set, or as strong as brings the share nearest to it.
    """
    shares, limits = dict(settings.shares), dict(settings.limits)
    root = np.sqrt(weights)[:, None]
    seen = (basis * root[..., None]).reshape(-1, basis.shape[2])
    on_face = basis[face].reshape(-1, basis.shape[2])
    total = (on_face**2).sum()
    gram = seen.T @ seen
    single = [name for name in displacements if name not in ANCESTRIES]
    groups = [(name, [name], np.eye(1)) for name in single]
    groups.append(("ancestry", list(ANCESTRIES), 1.5 * np.eye(3) - 0.5))
    found: dict[str, Array] = {}
    reached: dict[str, tuple[float, float]] = {}
    for group, names, covariance in groups:
        wanted = np.stack([seen.T @ (displacements[name] * root).reshape(-1) for name in names])
        for ridge in np.geomspace(1e-3, 1e3, 61) * np.trace(gram) / len(gram):
            rows = np.linalg.solve(gram + ridge * np.eye(len(gram)), wanted.T).T
            moved = on_face @ rows.T
            share = np.trace(covariance @ moved.T @ moved) / total
            largest = np.linalg.eigvalsh(_root(covariance) @ rows @ rows.T @ _root(covariance))[-1]
            scale = min(shares[group] / share, limits[group] / largest)
            if group not in reached or scale * share > reached[group][0] * (1 + 1e-6):
                reached[group] = (scale * share, scale * largest)
                found |= dict(zip(names, rows * np.sqrt(scale), strict=True))
    return np.stack([found[name] for name in displacements]), reached


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T
