"""The population of the open head: what was measured on real people, and MakeHuman's sliders where that says little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head.recipe import identities
from sheap.head.recipe.following import Followers
from sheap.head.recipe.topology import HeadTopology, smooth_over_mesh

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PopulationSettings:
    """How much of the sliders' variation is added, by region, and how much each region decides what the components
    are; openness_share: how much of the eyes' openness is left to the eyelids."""

    slider_components: int = 150
    slider_share: tuple[tuple[str, float], ...] = (("face", 0.85), ("scalp", 0.6), ("ears", 0.8), ("neck", 0.5))
    blend_steps: int = 30
    openness_share: float = 0.85
    deciding: tuple[tuple[str, float], ...] = (("face", 1.0), ("scalp", 0.3), ("ears", 0.1), ("neck", 0.1))


def slider_factor(
    shapes: Array, followers: Followers, head: HeadTopology, regions: dict[str, Mask], settings: PopulationSettings
) -> Array:
    """Rows [R, P, 3] of the sliders' part: principal components of aligned adults [S, P, 3], faded by region."""
    _, components, _ = identities.identity_basis(shapes, head.mirror, head.num_vertices, settings.slider_components)
    fade = smooth_over_mesh(by_region(settings.slider_share, regions), head, settings.blend_steps)
    faded = components[followers.outer] * fade[followers.outer, None, None]
    return followers.extend(faded).transpose(2, 0, 1)


def by_region(values: tuple[tuple[str, float], ...], regions: dict[str, Mask]) -> Array:
    """One number per point [P] from numbers by region; zero elsewhere."""
    out = np.zeros(len(regions["skin"]))
    for name, value in values:
        out[regions[name]] = value
    return out
