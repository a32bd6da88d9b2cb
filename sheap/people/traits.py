"""What makes one person look unlike another, drawn from a seed and from who they are. Plain numbers and names, so people.json
can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head.model import IRIS_RADIUS
from sheap.people.demographics import AGE_RANGE, ANCESTRIES, Demographics

HAIR_STYLES = ("bald", "receding", "buzz", "short", "quiff", "fringe", "curly", "afro", "medium", "long", "tied")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
NECKLINES = ("crew", "v", "shirt", "turtleneck", "scoop")
BROW_STYLES = 12
"""Brows of the package's skin model."""

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Traits:
    """Colours are sRGB [3] in 0..1, lengths metres on the mean head; unnamed numbers run 0..1.

    sex, ancestry: as in Demographics. age: 0 at the youngest, 1 at the oldest. melanin: skin from fair to dark; undertone: -1
    yellowish .. 1 pinkish; blood: redness of cheeks and nose; blotches, pattern, contour: strength of uneven colour, of colour
    that is alike on both sides, of the face's darker and lighter places; skin_contrast, skin_detail: of the mixed skins' own
    colour and fine detail (1: average). lid_*: of the eyelids; *_lines, *_crease, *_depth: how deep they are; lip_fullness:
    -1..1; brow_gap: from the middle of the face to where the brow starts; brow_height: moved up; brow_tilt: radians;
    hairline_shift: moved up; hairline_peak, hairline_corners: how far it comes down in the middle and goes up at the temples;
    receded: how far it went back. beard_length: against the usual; beard_*: see sheap.people.beards.BeardForm.
    """

    sex: str
    ancestry: tuple[float, float, float]
    age: float
    melanin: float
    undertone: float
    blood: float
    blotches: float
    pattern: float
    contour: float
    skin_contrast: float
    skin_detail: float
    skin_gloss: float
    freckles: float
    moles: int
    eye_bags: float
    bag_height: float
    lid_red: float
    lid_dark: float
    lid_crease: float
    lid_crease_depth: float
    lash_density: float
    forehead_lines: float
    frown_lines: float
    fold_lines: float
    mouth_lines: float
    chin_crease: float
    chin_dimple: float
    lip_color: float
    lip_dark: float
    lip_fullness: float
    lip_rim: float
    lipstick: float
    lipstick_color: Color
    makeup: float
    eyeshadow_color: Color
    brow_style: int
    brow_thickness: float
    brow_density: float
    brow_arch: float
    brow_height: float
    brow_gap: float
    brow_length: float
    brow_tilt: float
    brow_color: Color
    hair_color: Color
    hair_style: str
    hair_part: float
    hairline_shift: float
    hairline_peak: float
    hairline_corners: float
    receded: float
    beard: str
    beard_density: float
    beard_shadow: float
    beard_cheek: float
    beard_neck: float
    beard_width: float
    beard_bare: float
    beard_lip: float
    beard_length: float
    beard_color: Color
    iris_color: Color
    iris_ring: float
    iris_radius: float
    pupil: float
    neckline: str
    cloth_color: Color
    cloth_second: Color
    cloth_pattern: str
    shoulder_width: float


_HAIR_COLORS = {
    "black": (0.07, 0.06, 0.06),
    "dark brown": (0.16, 0.11, 0.08),
    "brown": (0.29, 0.19, 0.13),
    "light brown": (0.44, 0.32, 0.21),
    "dark blond": (0.55, 0.43, 0.28),
    "blond": (0.74, 0.62, 0.42),
    "red": (0.48, 0.21, 0.10),
}
_GREY, _WHITE = np.array([0.50, 0.49, 0.48]), np.array([0.80, 0.79, 0.77])
_HAIR_SHARES = {
    "african": (0.76, 0.20, 0.04, 0.0, 0.0, 0.0, 0.0),
    "asian": (0.78, 0.19, 0.03, 0.0, 0.0, 0.0, 0.0),
    "european": (0.10, 0.22, 0.24, 0.17, 0.12, 0.10, 0.05),
}
"""Shares of _HAIR_COLORS in youth, by ancestry."""

_IRIS_COLORS = {
    "dark brown": (0.20, 0.11, 0.06),
    "brown": (0.33, 0.20, 0.10),
    "hazel": (0.42, 0.32, 0.16),
    "green": (0.36, 0.42, 0.26),
    "grey": (0.45, 0.50, 0.52),
    "blue": (0.33, 0.47, 0.62),
}
_IRIS_SHARES = {
    "african": (0.80, 0.18, 0.02, 0.0, 0.0, 0.0),
    "asian": (0.68, 0.28, 0.04, 0.0, 0.0, 0.0),
    "european": (0.12, 0.22, 0.16, 0.12, 0.13, 0.25),
}
"""Shares of _IRIS_COLORS by ancestry."""

# Melanin of each ancestry's two kinds of people: (share, mean, spread).
_MELANIN = {
    "african": ((0.75, 0.80, 0.09), (0.25, 0.62, 0.08)),
    "asian": ((0.70, 0.25, 0.07), (0.30, 0.47, 0.10)),
    "european": ((0.75, 0.15, 0.06), (0.25, 0.29, 0.07)),
}

GREYING_YEARS = (45.0, 10.0)
"""Mean and spread of the age at which hair starts to turn grey; it takes about twenty years."""
DYED_SHARE = {"female": 0.45, "male": 0.08}
"""Of those who turn grey, how many hide it."""
BALDING_SHARE = 0.6
"""Of men, how many lose hair at some time in life."""
MAKEUP_SHARE, LIPSTICK_SHARE = 0.55, 0.45
"""Of women."""
BEARD_SHARES = {
    "african": (0.34, 0.24, 0.08, 0.14, 0.20),
    "asian": (0.66, 0.18, 0.05, 0.07, 0.04),
    "european": (0.40, 0.26, 0.05, 0.09, 0.20),
}
"""Of men, shares of BEARDS by ancestry."""


def sample_traits(rng: np.random.Generator, demographics: Demographics) -> Traits:
    """The looks of a person of these demographics: they lean on them as loosely as in life."""
    who = _Draws(rng, demographics)
    age, is_man = who.age, who.is_man
    melanin = who.melanin()
    grey = who.greying()
    young_hair = who.young_hair()
    hair = _color(who.turned_grey(young_hair, grey))
    receded = who.receded()
    style = who.hair_style(receded, melanin)
    beard = who.pick_by_ancestry(BEARDS, BEARD_SHARES) if is_man else "none"
    wears_makeup = not is_man and rng.random() < MAKEUP_SHARE
    wears_lipstick = not is_man and rng.random() < LIPSTICK_SHARE
    brow_dark = np.minimum(_mixed(np.array(young_hair), np.array(hair), 0.5 * rng.random()), 0.42)
    brow_dark = np.clip(brow_dark * rng.uniform(0.7, 1.25), 0.02, 0.45)
    brow_tinted = wears_makeup and rng.random() < 0.5
    asian = demographics.ancestry[ANCESTRIES.index("asian")]
    heavy = float(np.clip(0.5 + 0.22 * demographics.weight, 0, 1))
    iris = np.array(_IRIS_COLORS[who.pick_by_ancestry(tuple(_IRIS_COLORS), _IRIS_SHARES)])
    iris = np.clip(iris * rng.uniform(0.8, 1.25, 3) ** 0.5 * rng.uniform(0.75, 1.25), 0, 1)
    freckled = melanin < 0.35 and rng.random() < 0.30
    return Traits(
        sex=demographics.sex,
        ancestry=demographics.ancestry,
        age=age,
        melanin=melanin,
        undertone=float(np.clip(rng.normal(-0.25 * asian, 0.5), -1.3, 1.3)),
        blood=float(np.clip(rng.normal(0.55 + 0.15 * is_man, 0.3), 0, 1.5)),
        blotches=float(rng.uniform(0.4, 1.0) + 0.4 * age * rng.random()),
        pattern=float(rng.uniform(0.4, 1.3)),
        contour=float(rng.uniform(0.4, 1.3)),
        skin_contrast=float(np.clip(rng.normal(0.95, 0.22), 0.4, 1.5)),
        skin_detail=float(np.clip(rng.normal(1.0 + 0.5 * age - 0.25 * wears_makeup, 0.35), 0.35, 2.0)),
        skin_gloss=float(rng.uniform(0.4, 1.6)),
        freckles=float(rng.uniform(0.3, 1)) if freckled else 0.0,
        moles=int(rng.poisson(2.5)),
        eye_bags=float(np.clip(rng.beta(1.2, 2.6) + 0.45 * age * rng.random() + 0.1 * (heavy - 0.5), 0, 1)),
        bag_height=float(rng.uniform(0.0055, 0.0095)),
        lid_red=float(rng.beta(1.5, 3)),
        lid_dark=float(1.5 * rng.beta(1.1, 3.5) + 0.1 * melanin),
        lid_crease=float(np.clip(rng.normal(0.0042, 0.0018), 0.0014, 0.0090)),
        lid_crease_depth=float(rng.uniform(0.1, 1.5) * (1 - 0.65 * asian * rng.random())),
        lash_density=float(np.clip(rng.normal(0.5 - 0.1 * is_man, 0.35), 0, 1)),
        forehead_lines=who.line(1.0),
        frown_lines=who.line(0.9),
        fold_lines=float(np.clip(0.12 + who.line(0.8) + 0.1 * (heavy - 0.5), 0, 1)),
        mouth_lines=who.line(0.8),
        chin_crease=float(rng.beta(1.5, 3.0)),
        chin_dimple=float(rng.uniform(0.4, 1)) if rng.random() < (0.22 if is_man else 0.10) else 0.0,
        lip_color=float(np.clip(rng.normal(0.72 - 0.30 * is_man - 0.2 * age, 0.30), 0, 1.3)),
        lip_dark=float(np.clip(rng.normal(0.1 + 0.35 * melanin, 0.22), 0, 1)),
        lip_fullness=float(np.clip(rng.normal(-0.1 - 0.3 * is_man + 0.4 * melanin - 0.4 * age, 0.55), -1, 1)),
        lip_rim=float(rng.random()),
        lipstick=float(rng.uniform(0.35, 1.0)) if wears_lipstick else 0.0,
        lipstick_color=_color(np.array([[0.64, 0.16, 0.18], [0.76, 0.40, 0.40], [0.58, 0.32, 0.28], [0.56, 0.26, 0.32],
                                        [0.78, 0.38, 0.32]])[rng.integers(5)] * rng.uniform(0.8, 1.15)),
        makeup=float(rng.uniform(0.25, 1.0)) if wears_makeup else 0.0,
        eyeshadow_color=_color(np.array([[0.25, 0.17, 0.13], [0.30, 0.25, 0.30], [0.45, 0.30, 0.22], [0.16, 0.15, 0.16],
                                         [0.40, 0.22, 0.28]])[rng.integers(5)]),
        brow_style=who.brow_style(),
        brow_thickness=float(np.clip(rng.normal(0.0078 if is_man else 0.0050, 0.0021), 0.0018, 0.0130)),
        brow_density=float(np.clip(rng.beta(1.2, 1.0) - 0.2 * age * rng.random() + 0.1 * is_man, 0.0, 1)),
        brow_arch=float(np.clip(rng.normal(0.38 if is_man else 0.60, 0.45), -0.5, 1.5)),
        brow_height=float(np.clip(rng.normal(-0.0010 if is_man else 0.0008, 0.0036), -0.0070, 0.0085)),
        brow_gap=float(np.clip(rng.normal(0.0116 if is_man else 0.0128, 0.0032), 0.0020, 0.0210)),
        brow_length=float(np.clip(rng.normal(1.0, 0.18), 0.65, 1.4)),
        brow_tilt=float(np.clip(rng.normal(0.0, 0.14), -0.32, 0.32)),
        brow_color=_color(np.minimum(brow_dark, 0.18) if brow_tinted else brow_dark),
        hair_color=hair,
        hair_style=style,
        hair_part=float(rng.choice([0.0, rng.uniform(0.015, 0.035), -rng.uniform(0.015, 0.035)], p=[0.3, 0.35, 0.35])),
        hairline_shift=float(np.clip(rng.normal(0.001, 0.008), -0.010, 0.018)),
        hairline_peak=who.hairline_peak(),
        hairline_corners=float(np.clip(who.form_rng.normal(0.004 if is_man else 0.0, 0.004), -0.005, 0.014)),
        receded=receded,
        beard=beard,
        beard_density=float(rng.uniform(0.25, 1.0)),
        beard_shadow=who.beard_shadow(np.array(young_hair)),
        **who.beard_form(beard),
        beard_color=who.beard_color(np.array(hair)),
        iris_color=_color(iris),
        iris_ring=float(rng.uniform(0.2, 1.0)),
        iris_radius=float(rng.normal(IRIS_RADIUS, 0.00015)),
        pupil=float(np.clip(rng.normal(0.42 - 0.08 * age, 0.07), 0.26, 0.6)),
        neckline=str(rng.choice(NECKLINES, p=[0.40, 0.14, 0.33, 0.13, 0.0] if is_man else [0.27, 0.23, 0.13, 0.12, 0.25])),
        cloth_color=_random_color(rng),
        cloth_second=_random_color(rng),
        cloth_pattern=str(rng.choice(["plain", "stripes", "checks", "knit"], p=[0.5, 0.18, 0.14, 0.18])),
        shoulder_width=float(np.clip(rng.normal(0.222 if is_man else 0.198, 0.008) + 0.006 * demographics.weight, 0.175, 0.25)),
    )  # fmt: skip


class _Draws:
    """The draws that lean on who someone is."""

    def __init__(self, rng: np.random.Generator, demographics: Demographics) -> None:
        self.rng, self.demographics = rng, demographics
        # Of their own, so that what is drawn of the forms of hairline and beard changes nothing else of a person.
        self.form_rng = rng.spawn(1)[0]
        self.is_man = demographics.sex == "male"
        self.years = demographics.age_years
        low, high = AGE_RANGE
        self.age = float(np.clip((self.years - low) / (high - low), 0, 1))

    def pick_by_ancestry(self, names: tuple[str, ...], shares: Mapping[str, tuple[float, ...]]) -> str:
        """A name, by the frequencies of one of the person's ancestries, drawn by its share."""
        return str(self.rng.choice(names, p=shares[self._ancestor()]))

    def _ancestor(self) -> str:
        weights = np.array(self.demographics.ancestry)
        return str(self.rng.choice(ANCESTRIES, p=weights / weights.sum()))

    def melanin(self) -> float:
        """Skin colour is of all ancestors together, unlike eyes and hair."""
        rng, total = self.rng, 0.0
        for name, share in zip(ANCESTRIES, self.demographics.ancestry):
            kinds = _MELANIN[name]
            _, mean, spread = kinds[0] if rng.random() < kinds[0][0] else kinds[1]
            total += share * rng.normal(mean, spread)
        return float(np.clip(total, 0.0, 1.0))

    def young_hair(self) -> Color:
        rng = self.rng
        name = self.pick_by_ancestry(tuple(_HAIR_COLORS), _HAIR_SHARES)
        color = np.array(_HAIR_COLORS[name]) * rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
        if not self.is_man and rng.random() < 0.14:
            # Coloured: lighter, redder, or no colour hair has.
            choices = (_HAIR_COLORS["blond"], _HAIR_COLORS["red"], (0.35, 0.10, 0.14), (0.30, 0.16, 0.34))
            color = np.array(choices[rng.integers(len(choices))])
        return _color(np.clip(color, 0.02, 0.9))

    def greying(self) -> float:
        """Share of hair without colour that shows."""
        mean, spread = GREYING_YEARS
        grey = float(np.clip((self.years - self.rng.normal(mean, spread)) / 20, 0, 1))
        return 0.0 if self.rng.random() < DYED_SHARE[self.demographics.sex] else grey

    def turned_grey(self, young: Color, grey: float) -> NDArray:
        return _mixed(np.array(young), _mixed(_GREY, _WHITE, grey * self.rng.random()), grey)

    def receded(self) -> float:
        rng = self.rng
        if not self.is_man:
            return float(0.15 * self.age * rng.random())
        if rng.random() > BALDING_SHARE:
            return float(0.2 * rng.random())
        return float(np.clip((self.years - rng.normal(34, 9)) / 22, 0, 1))

    def hair_style(self, receded: float, melanin: float) -> str:
        rng = self.rng
        african = self.demographics.ancestry[ANCESTRIES.index("african")]
        if self.is_man:
            if receded > 0.65:
                return str(rng.choice(["receding", "bald", "buzz"], p=[0.6, 0.28, 0.12]))
            weights = {"bald": 0.25 + 0.5 * african, "receding": 2.0 * receded, "buzz": 1.5 + 3 * african, "short": 4.0,
                       "quiff": 2.0, "fringe": 2.0 - 1.4 * self.age, "curly": 1.0, "medium": 0.5, "long": 0.25,
                       "tied": 0.2, "afro": 2.0 * african}  # fmt: skip
        else:
            weights = {"bald": 0.03, "receding": 0.0, "buzz": 0.15 + 0.3 * african, "short": 0.6 + 1.5 * self.age,
                       "quiff": 0.3, "fringe": 1.8, "curly": 1.4 + 0.8 * self.age, "medium": 3.0, "long": 3.2 - 2 * self.age,
                       "tied": 2.0, "afro": 2.5 * african}  # fmt: skip
        if african > 0.6:
            weights |= {"quiff": 0.1, "fringe": 0.1, "short": 0.5 * weights["short"]}
        shares = np.array([weights[name] for name in HAIR_STYLES])
        return str(rng.choice(HAIR_STYLES, p=shares / shares.sum()))

    def line(self, scale: float) -> float:
        """Depth of a line that comes with age."""
        return float(np.clip(scale * (self.age**1.4 * self.rng.uniform(0.3, 1.2) + 0.12 * self.rng.random()), 0, 1))

    def beard_shadow(self, hair: NDArray) -> float:
        if not self.is_man:
            return 0.0
        asian = self.demographics.ancestry[ANCESTRIES.index("asian")]
        return float(self.rng.beta(1.6, 2.2) * (1 - 0.6 * asian) * np.clip(1.1 - 1.6 * hair.mean(), 0.1, 1))

    def hairline_peak(self) -> float:
        """About every third person has a widow's peak."""
        rng = self.form_rng
        return float(rng.uniform(0.003, 0.010)) if rng.random() < 0.35 else 0.0

    def beard_form(self, beard: str) -> dict[str, float]:
        """The edges and the length of a man's beard, or of where his shaved one would grow."""
        rng = self.form_rng
        with_lip = beard == "moustache" or rng.random() < 0.85
        return {
            "beard_cheek": float(np.clip(rng.normal(0.004, 0.007), -0.004, 0.020)),
            "beard_neck": float(np.clip(rng.normal(0.002, 0.006), -0.006, 0.016)),
            "beard_width": float(rng.uniform(0.024, 0.046)),
            "beard_bare": float(rng.beta(0.8, 1.2)),
            "beard_lip": 1.0 if with_lip else float(rng.uniform(0.0, 0.4)),
            "beard_length": float(np.clip(np.exp(rng.normal(0, 0.45)), 0.4, 2.6)),
        }

    def beard_color(self, hair: NDArray) -> Color:
        """Beards turn grey before the head does; those of brown and fair people are often redder than their hair."""
        rng = self.form_rng
        if hair.mean() > 0.15 and rng.random() < 0.4:
            hair = hair * np.array([1.12, 0.88, 0.80])
        ahead = float(np.clip((self.years - 38) / 25, 0, 1) * rng.uniform(0, 0.7))
        return _color(np.clip(_mixed(hair * rng.uniform(0.8, 1.15), _mixed(_GREY, _WHITE, ahead), ahead), 0.02, 0.9))

    def brow_style(self) -> int:
        weights = _MANS_BROWS if self.is_man else _WOMANS_BROWS
        return int(self.rng.choice(BROW_STYLES, p=np.array(weights) / sum(weights)))


# How often each of the model's brows is a man's and a woman's: the fine, plucked ones are mostly women's.
_MANS_BROWS = (1, 1, 1, 1, 0.6, 0.05, 0.3, 1.5, 2, 0.4, 0.4, 2)
_WOMANS_BROWS = (1, 1.2, 1.2, 1.2, 1, 1, 0.8, 0.8, 0.3, 1, 1, 0.4)


def _mixed(one: NDArray, other: NDArray, share: float) -> NDArray:
    return one + share * (other - one)


def _random_color(rng: np.random.Generator) -> Color:
    if rng.random() < 0.45:
        return _color(np.full(3, rng.choice([0.05, 0.12, 0.3, 0.6, 0.88])) * rng.uniform(0.92, 1.06, 3))
    return _color(np.clip(rng.dirichlet([1.2, 1.2, 1.2]) * rng.uniform(0.5, 2.0), 0.02, 0.95))


def _color(values: NDArray) -> Color:
    red, green, blue = (round(float(v), 4) for v in values)
    return red, green, blue
