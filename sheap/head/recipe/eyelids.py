"""Closing the eyes: the package's blinks, fitted to the mean head and kept off the eyeballs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.head.recipe.topology import HeadTopology, mesh_edges

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CLEARANCE = 1.015
"""Distance of closed lids from the eyeball's centre, in its radii."""
MOVING = 0.002
"""Metres: what a blink moves by this much belongs to the lid wholly."""


def close_left_eye(
    points: Array, blink: Array, head: HeadTopology, sockets: Mask, margin: float
) -> tuple[Array, Array]:
    """Offsets [P, 3] that just close the mean head's left eye, and the bulge [P, 3] that is added halfway.

    `blink` [P, 3] is drawn for a wider eye. It is scaled so that the mean head's lids meet, times `margin` for people
    whose eyes open wider than the mean's.

    A lid that moves straight from open to closed cuts through the ball in between, so the bulge keeps each point's
    distance from the ball's centre: the path is offset * e + bulge * 4 e (1 - e).
    """
    ball = head.part_mask("eyeball_left")
    centre = points[ball].mean(axis=0)
    radius = np.linalg.norm(points[ball] - centre, axis=1).mean()
    upper, lower = _lid_margins(points, head, sockets)
    offset = margin * np.median(_closing_strengths(points, blink, upper, lower)) * blink
    offset[ball] = 0.0
    # Where the closed lid would lie inside the ball it is lifted onto it.
    closed = points + offset - centre
    distance = np.linalg.norm(closed, axis=1)
    lift = (np.linalg.norm(offset, axis=1) / MOVING).clip(0, 1) * (CLEARANCE * radius - distance).clip(0)
    offset = offset + np.where(head.part_mask("skin"), lift / distance, 0.0)[:, None] * closed

    halfway = points + 0.5 * offset - centre
    distance = np.linalg.norm(halfway, axis=1)
    wanted = (np.linalg.norm(points - centre, axis=1) + np.linalg.norm(points + offset - centre, axis=1)) / 2
    moves = np.linalg.norm(offset, axis=1) > 0
    missing = np.where(moves & (distance < 1.5 * radius), (wanted - distance).clip(0), 0.0)
    return offset, halfway / distance[:, None] * missing[:, None]


def without_openness(
    factor: Array, points: Array, left: Array, head: HeadTopology, sockets: Mask, share: float
) -> Array:
    """Displacements [R, P, 3] of people less most (`share`) of how wide they open their eyes, which is the eyelids' part.

    left [P, 3]: how the left eye starts to close. Else one blink could not close everybody's eyes.
    """
    upper, lower = _lid_margins(points, head, sockets)
    middle = [edge[np.argsort(np.abs(points[edge, 0] - points[edge, 0].mean()))[: len(edge) // 2]] for edge in (upper, lower)]
    out = factor.copy()
    for side, closing in ((slice(None), left), (head.mirror, left[head.mirror] * [-1, 1, 1])):
        ids = [np.arange(len(points))[side][edge] for edge in middle]
        opened = factor[:, ids[0], 1].mean(axis=1) - factor[:, ids[1], 1].mean(axis=1)
        full = closing[ids[1], 1].mean() - closing[ids[0], 1].mean()
        out += share * (opened / full)[:, None, None] * closing
    return out


def _lid_margins(points: Array, head: HeadTopology, sockets: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertices along the upper and the lower edge of the left eye's opening, each sorted from the nose outwards."""
    skin = head.part_mask("skin")
    i, j = mesh_edges(head.faces).T
    crosses = skin[i] & skin[j] & (sockets[i] != sockets[j])
    edge = np.unique(np.where(sockets[i], i, j)[crosses])
    edge = edge[points[edge, 0] > 0]
    edge = edge[np.argsort(points[edge, 0])]
    inner, outer = points[edge[0]], points[edge[-1]]
    middle = inner[1] + (outer[1] - inner[1]) * (points[edge, 0] - inner[0]) / (outer[0] - inner[0])
    above = points[edge, 1] > middle
    return edge[above], edge[~above]


def _closing_strengths(points: Array, blink: Array, upper: NDArray[np.int64], lower: NDArray[np.int64]) -> Array:
    """How strong the blink must be for each upper-lid vertex to reach the lower lid; corners, where the lids meet
    anyway, say nothing and are left out."""
    strengths = np.linspace(0, 1.5, 301)
    gaps = []
    for strength in strengths:
        low, high = points[lower] + strength * blink[lower], points[upper] + strength * blink[upper]
        order = np.argsort(low[:, 0])
        gaps.append(high[:, 1] - np.interp(high[:, 0], low[order, 0], low[order, 1]))
    gap = np.array(gaps)
    usable = (gap[0] > 0.5 * gap[0].max()) & (gap <= 0).any(axis=0)
    assert usable.sum() >= 3, "the blink does not close the eye"
    return strengths[(gap <= 0).argmax(axis=0)[usable]]
