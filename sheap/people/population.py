"""Shapes that belong to people: identity coefficients drawn for who somebody is.

Over the whole population the coefficients keep mean zero and unit covariance, which is what training's priors and every
standard normal draw assume: traits explain part of it, and what is drawn beside them is that much narrower.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.head.data import TRAIT_NAMES
from sheap.head.model import HeadModel
from sheap.people.demographics import Demographics, trait_covariance, trait_values


class Population:
    """People of one head model. A head whose file knows no trait directions has standard normal people, whoever they
    are.

    Raises ValueError when the traits would explain more than there is.
    """

    def __init__(self, head: HeadModel) -> None:
        self.num_shape = head.num_shape
        self._directions = np.zeros((len(TRAIT_NAMES), head.num_shape))
        directions = head.trait_directions if head.trait_names and head.trait_directions is not None else ()
        for name, direction in zip(head.trait_names, directions, strict=True):
            self._directions[TRAIT_NAMES.index(name)] = direction.double().numpy()
        values, vectors = np.linalg.eigh(trait_covariance())
        root = vectors * np.sqrt(values.clip(0)) @ vectors.T
        _, spread, self._axes = np.linalg.svd(root @ self._directions, full_matrices=False)
        if spread[0] >= 1:
            raise ValueError(f"head model: its traits explain {spread[0] ** 2:.2f} of a coefficient's variance")
        self._narrowing = 1 - np.sqrt(1 - spread**2)

    def mean_shape(self, demographics: Demographics) -> NDArray[np.float64]:
        """Coefficients [S] of the average of people like this."""
        return trait_values(demographics) @ self._directions

    def draw(self, demographics: Demographics, rng: np.random.Generator) -> NDArray[np.float32]:
        """Coefficients [S] of one person."""
        own = rng.standard_normal(self.num_shape)
        own -= (self._narrowing * (self._axes @ own)) @ self._axes
        return (self.mean_shape(demographics) + own).astype(np.float32)


def draw_shape(head: HeadModel, demographics: Demographics, rng: np.random.Generator) -> NDArray[np.float32]:
    """Identity coefficients [S] of one person of a head model's population."""
    return Population(head).draw(demographics, rng)
