"""What makes one person look unlike another, drawn from a seed. Plain numbers and names, so people.json can hold
them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.head.model import IRIS_RADIUS

HAIR_STYLES = ("bald", "receding", "buzz", "short", "quiff", "fringe", "curly", "afro", "medium", "long", "tied")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
NECKLINES = ("crew", "v", "shirt", "turtleneck", "scoop")


@dataclass(frozen=True)
class Traits:
    """Colours are sRGB [3] in 0..1; unnamed numbers run 0..1.

    melanin: skin from fair to dark; undertone: -1 yellowish .. 1 pinkish; blood: redness of cheeks and nose; age:
    lines and uneven colour; brow_*: in metres or shares; iris_radius in metres.
    """

    melanin: float
    undertone: float
    blood: float
    age: float
    freckles: float
    skin_gloss: float
    lip_color: float
    lipstick: float
    makeup: float
    brow_thickness: float
    brow_density: float
    brow_arch: float
    brow_height: float
    hair_color: tuple[float, float, float]
    hair_style: str
    hair_part: float
    beard: str
    iris_color: tuple[float, float, float]
    iris_ring: float
    iris_radius: float
    pupil: float
    neckline: str
    cloth_color: tuple[float, float, float]
    cloth_second: tuple[float, float, float]
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
    "grey": (0.52, 0.51, 0.50),
    "white": (0.80, 0.79, 0.77),
    "dyed": (0.35, 0.15, 0.35),
}

_IRIS_COLORS = {
    "dark brown": (0.20, 0.11, 0.06),
    "brown": (0.33, 0.20, 0.10),
    "hazel": (0.42, 0.32, 0.16),
    "green": (0.36, 0.42, 0.26),
    "grey": (0.45, 0.50, 0.52),
    "blue": (0.33, 0.47, 0.62),
}


def sample_traits(rng: np.random.Generator) -> Traits:
    """One person's looks. Hair and eyes go with the skin loosely, as in people."""
    melanin = float(rng.choice([rng.beta(1.6, 4.5), rng.uniform(0.3, 0.65), rng.beta(5, 2.0)], p=[0.5, 0.25, 0.25]))
    age = float(rng.beta(1.3, 1.8))
    masculine = float(rng.random())
    hair = _hair_color(rng, melanin, age)
    if melanin < 0.3:
        iris_weights = [0.10, 0.24, 0.18, 0.14, 0.14, 0.20]
    elif melanin < 0.55:
        iris_weights = [0.40, 0.40, 0.12, 0.04, 0.02, 0.02]
    else:
        iris_weights = [0.75, 0.23, 0.02, 0.0, 0.0, 0.0]
    iris = np.array(list(_IRIS_COLORS.values())[rng.choice(len(_IRIS_COLORS), p=iris_weights)])
    iris = np.clip(iris * rng.uniform(0.8, 1.25, 3) ** 0.5 * rng.uniform(0.8, 1.2), 0, 1)
    return Traits(
        melanin=melanin,
        undertone=float(np.clip(rng.normal(0, 0.5), -1.2, 1.2)),
        blood=float(rng.uniform(0.25, 1.0)),
        age=age,
        freckles=float(rng.uniform(0.3, 1)) if melanin < 0.35 and rng.random() < 0.3 else 0.0,
        skin_gloss=float(rng.uniform(0.5, 1.5)),
        lip_color=float(rng.uniform(0.3, 1.0)),
        lipstick=float(rng.uniform(0.4, 1.0)) if masculine < 0.45 and rng.random() < 0.45 else 0.0,
        makeup=float(rng.uniform(0.3, 1.0)) if masculine < 0.45 and rng.random() < 0.5 else 0.0,
        brow_thickness=float(rng.uniform(0.0036, 0.0062) + 0.0018 * masculine),
        brow_density=float(rng.uniform(0.45, 1.0)),
        brow_arch=float(rng.uniform(0.0, 1.0)),
        brow_height=float(rng.normal(0, 0.0012)),
        hair_color=hair,
        hair_style=_hair_style(rng, masculine, melanin, age),
        hair_part=float(rng.choice([0.0, rng.uniform(0.015, 0.035), -rng.uniform(0.015, 0.035)], p=[0.3, 0.35, 0.35])),
        beard=str(rng.choice(BEARDS, p=[0.28, 0.28, 0.1, 0.12, 0.22])) if masculine > 0.5 else "none",
        iris_color=_color(iris),
        iris_ring=float(rng.uniform(0.3, 1.0)),
        iris_radius=float(rng.normal(IRIS_RADIUS, 0.0001)),
        pupil=float(rng.uniform(0.28, 0.5)),
        neckline=str(rng.choice(NECKLINES, p=[0.35, 0.18, 0.2, 0.12, 0.15])),
        cloth_color=_random_color(rng),
        cloth_second=_random_color(rng),
        cloth_pattern=str(rng.choice(["plain", "stripes", "checks", "knit"], p=[0.5, 0.18, 0.14, 0.18])),
        shoulder_width=float(rng.uniform(0.185, 0.235)),
    )


def _hair_color(rng: np.random.Generator, melanin: float, age: float) -> tuple[float, float, float]:
    if age > 0.7 and rng.random() < 0.6:
        name = str(rng.choice(["grey", "white"], p=[0.7, 0.3]))
    elif melanin > 0.45:
        name = str(rng.choice(["black", "dark brown", "brown", "dyed"], p=[0.65, 0.25, 0.06, 0.04]))
    else:
        names = ["black", "dark brown", "brown", "light brown", "dark blond", "blond", "red", "dyed"]
        name = str(rng.choice(names, p=[0.16, 0.22, 0.2, 0.14, 0.1, 0.1, 0.05, 0.03]))
    color = np.array(_HAIR_COLORS[name]) * rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    if name == "dyed":
        color = rng.dirichlet([3, 3, 3]) * rng.uniform(0.3, 1.0)
    return _color(np.clip(color, 0.02, 0.9))


def _hair_style(rng: np.random.Generator, masculine: float, melanin: float, age: float) -> str:
    weights = dict.fromkeys(HAIR_STYLES, 1.0)
    if masculine > 0.5:
        weights |= {"short": 3, "quiff": 2, "buzz": 1.5, "medium": 0.5, "long": 0.3, "tied": 0.3}
        weights |= {"receding": 0.3 + 2 * age, "bald": 0.4 + age}
    else:
        weights |= {
            "bald": 0.05,
            "receding": 0,
            "buzz": 0.25,
            "short": 0.8,
            "quiff": 0.3,
            "long": 3,
            "medium": 3,
            "tied": 2,
        }
    weights["afro"] = 1.5 if melanin > 0.6 else 0.15
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[rng.choice(len(names), p=shares / shares.sum())]


def _random_color(rng: np.random.Generator) -> tuple[float, float, float]:
    if rng.random() < 0.45:
        return _color(np.full(3, rng.choice([0.05, 0.12, 0.3, 0.6, 0.88])) * rng.uniform(0.92, 1.06, 3))
    return _color(np.clip(rng.dirichlet([1.2, 1.2, 1.2]) * rng.uniform(0.5, 2.0), 0.02, 0.95))


def _color(values: NDArray) -> tuple[float, float, float]:
    red, green, blue = (round(float(v), 4) for v in values)
    return red, green, blue
