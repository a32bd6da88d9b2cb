"""Where a beard grows, and the form that one man gives it: a beard's edges differ from man to man, as its length does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sheap.people.noise import smoothstep
from sheap.people.traits import Traits

Array = NDArray[np.float32]


class BeardForm(NamedTuple):
    """cheek, neck: how far (m) its edges lie from where it could grow, down on the cheek and up on the neck; width: half of that
    of a moustache or goatee, m; bare: how little grows beside the mouth, 0..1; lip: how much on the upper lip, 0..1."""

    cheek: float
    neck: float
    width: float
    bare: float
    lip: float

    @classmethod
    def of(cls, traits: Traits) -> BeardForm:
        return cls(traits.beard_cheek, traits.beard_neck, traits.beard_width, traits.beard_bare, traits.beard_lip)


WIDEST = BeardForm(-0.004, -0.006, 0.047, 0.0, 1.0)
"""Where any man's beard can grow."""


@dataclass(frozen=True)
class BeardGround:
    """What points [...] of the mean head have to do with beards. across, up: from the middle and y, m; rise: above the upper
    edge of a full beard, m; below: y and depth together, which is lower on the neck; open: where hair can grow at all; cheek,
    beside, lip: how much a point is of the cheek, of the skin beside the mouth and of the upper lip."""

    across: Array
    up: Array
    rise: Array
    below: Array
    open: Array
    cheek: Array
    beside: Array
    lip: Array

    @classmethod
    def prepare(cls, points: Array, lips: Array) -> BeardGround:
        """points [..., 3] on the mean head; lips [...]: weights of its lips."""
        x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
        # The upper edge falls from the sideburn to the corner of the mouth, then rises to the moustache under the nose.
        upper = np.interp(
            x, [0, 0.011, 0.024, 0.036, 0.052, 0.066, 0.075], [-0.056, -0.0545, -0.061, -0.071, -0.064, -0.04, -0.015]
        ).astype(np.float32)
        beside = np.exp(-0.5 * (((x - 0.028) / 0.008) ** 2 + ((y + 0.080) / 0.009) ** 2))
        lip = smoothstep(-0.081, -0.075, y) * smoothstep(0.036, 0.028, x)
        free = smoothstep(0.0, 0.016, z) * (1 - smoothstep(0.15, 0.6, lips))
        fields = (x, y, y - upper, y + 0.55 * z, free, smoothstep(0.018, 0.034, x), beside, lip)
        return cls(*(np.asarray(field, np.float32) for field in fields))

    def cover(self, kind: str, form: BeardForm) -> Array:
        """How densely [...] a beard of a kind ("full", "goatee" or "moustache") and form grows, 0..1."""
        grows = smoothstep(0.004, -0.004, np.asarray(self.rise + form.cheek * self.cheek, np.float32))
        # Below, it ends about a finger's breadth under the jaw, which rises from the chin to the ear.
        neck = smoothstep(-0.088, -0.076, self.below - np.float32(form.neck))
        out = grows * neck * self.open
        if kind == "moustache":
            # The barer beside the mouth, the shorter it is there.
            low = -0.076 - 0.014 * (1 - form.bare)
            out = out * smoothstep(low - 0.007, low, self.up) * smoothstep(form.width, form.width - 0.008, self.across)
            return np.asarray(out, np.float32)
        out = out * (1 - np.float32(form.bare) * self.beside) * (1 - np.float32(1 - form.lip) * self.lip)
        if kind == "goatee":
            out = out * smoothstep(form.width, form.width - 0.008, self.across)
        return np.asarray(out, np.float32)
