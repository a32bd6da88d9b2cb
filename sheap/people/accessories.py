"""What people wear or hold before their faces: glasses, masks, scarves, caps, hands, phones, cups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sheap.people.colours import linear_to_srgb
from sheap.people.noise import image_noise, point_noise
from sheap.people.scene import MATTE, SKIN, Material
from sheap.people.shapes import Solid, ball, capsule, grid_solid, joined, rounded_box, smooth_normals, tube
from sheap.people.wearer import Wearer

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Accessory:
    """A mesh that moves with the skull, placed on one identity at rest."""

    name: str
    solid: Solid
    material: Material


def put_on(kind: str, wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    """One of KINDS, fitted to the wearer. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"accessory: '{kind}' is unknown (known: {', '.join(KINDS)})")
    return KINDS[kind](wearer, rng)


def _flat_texture(
    srgb: NDArray[np.floating], rng: np.random.Generator, size: int = 32, grain: float = 0.04, alpha: float = 1.0
) -> NDArray[np.uint8]:
    out = np.empty((size, size, 4), np.uint8)
    shade = 1 + grain * image_noise(rng, size, size, size / 3)[..., None]
    out[..., :3] = (np.clip(np.asarray(srgb) * shade, 0, 1) * 255).astype(np.uint8)
    out[..., 3] = round(255 * alpha)
    return out


def _cloth_color(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.clip(rng.dirichlet([1.5, 1.5, 1.5]) * rng.uniform(0.4, 2.4), 0.03, 0.95)


def _glasses(wearer: Wearer, rng: np.random.Generator, *, dark: bool = False) -> list[Accessory]:
    half_width, half_height = rng.uniform(0.023, 0.028), rng.uniform(0.016, 0.023)
    if dark:
        half_width, half_height = half_width + 0.003, half_height + 0.003
    roundness = rng.uniform(0.5, 1.0)
    thickness = rng.choice([rng.uniform(0.0006, 0.001), rng.uniform(0.0014, 0.0024)])
    frame_color = rng.choice(
        [np.full(3, 0.04), np.full(3, 0.6), np.array([0.3, 0.18, 0.08]), np.array([0.65, 0.5, 0.25])]
    )
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    ring = np.stack(
        [
            half_width * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** roundness,
            half_height * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** roundness,
        ],
        -1,
    )
    right_outer, right_inner, left_inner, left_outer = wearer.now[:4]
    nose = (right_inner + left_inner) / 2
    front = max(right_inner[2], left_inner[2]) + 0.016
    frame, lenses = [], []
    for inner, outer, side in ((right_inner, right_outer, -1), (left_inner, left_outer, 1)):
        centre_x = nose[0] + side * max(half_width + 0.0085, abs((inner[0] + outer[0]) / 2 - nose[0]))
        centre = np.array([centre_x, nose[1] - 0.003, front - 0.002])
        # Lenses lean back towards the temples.
        rim = np.concatenate([ring, -0.09 * side * ring[:, :1]], 1) + centre
        frame.append(tube(rim, np.full(len(rim), thickness), 6, closed=True))
        disc = np.stack([np.repeat(centre[None], len(rim), 0), rim])
        lenses.append(grid_solid(disc[:, ::-1].astype(np.float32), wrap=True))
        temple = rim[np.argmax(side * rim[:, 0])]
        ear = wearer.vertices[wearer.regions["ears"] > 0.5]
        ear = ear[side * ear[:, 0] > 0]
        ear_x, ear_z = side * np.quantile(side * ear[:, 0], 0.25), np.quantile(ear[:, 2], 0.6)
        bend = np.array([ear_x + side * 0.002, temple[1] + 0.004, ear_z])
        wide = np.array([side * max(abs(temple[0]) + 0.004, abs(ear_x) - 0.001), temple[1] + 0.004, temple[2] - 0.012])
        frame.append(tube(np.stack([temple, wide, bend, bend + [0, -0.012, -0.018]]), np.full(4, thickness * 1.1), 6))
    bridge = np.stack([nose + [-0.010, 0.002, 0], nose + [0, 0.0045, 0], nose + [0.010, 0.002, 0]])
    bridge[:, 2] = front
    frame.append(tube(bridge, np.full(3, thickness * 1.2), 6))
    tint = np.array([0.03, 0.03, 0.035]) if dark else np.array([0.75, 0.8, 0.85])
    alpha = rng.uniform(0.8, 1.0) if dark else 0.0
    things = [
        Accessory(
            "glasses frame", joined(frame), Material(_flat_texture(frame_color, rng), MATTE, 0.25, 5, two_sided=True)
        )
    ]
    if alpha > 0:
        texture = _flat_texture(tint, rng, grain=0, alpha=alpha)
        things.append(
            Accessory("lenses", joined(lenses), Material(texture, MATTE, 0.5, 7, two_sided=True, screen_door=True))
        )
    return things


def _sunglasses(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    return _glasses(wearer, rng, dark=True)


def _offset_sheet(wearer: Wearer, chosen: NDArray[np.bool_], offset: float, smoothing: int) -> Solid:
    """The faces chosen [F], lifted along their normals and smoothed: cloth stretched over the head."""
    faces = wearer.faces[chosen]
    ids, local = np.unique(faces, return_inverse=True)
    local = local.reshape(-1, 3).astype(np.int32)
    points = wearer.vertices[ids] + np.float32(offset) * wearer.normals[ids]
    edges = np.concatenate([local[:, [0, 1]], local[:, [1, 2]], local[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    degree = np.bincount(edges.reshape(-1), minlength=len(ids))[:, None]
    start = points.copy()
    for _ in range(smoothing):
        total = np.zeros_like(points)
        np.add.at(total, edges[:, 0], points[edges[:, 1]])
        np.add.at(total, edges[:, 1], points[edges[:, 0]])
        points = 0.3 * points + 0.7 * total / degree
        # Cloth bridges hollows and never sinks into the skin.
        outwards = ((points - start) * wearer.normals[ids]).sum(-1, keepdims=True)
        points = points - np.minimum(outwards, 0) * wearer.normals[ids]
    place = wearer.template[ids]
    uv = np.stack([0.5 + place[:, 0] / 0.2, 0.5 - place[:, 1] / 0.26], -1).astype(np.float32)
    points = points.astype(np.float32)
    return Solid(points, smooth_normals(points, local), local, uv[local])


def _mask(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    middle = wearer.template[wearer.faces].mean(1)
    x, y, z = np.abs(middle[:, 0]), middle[:, 1], middle[:, 2]
    top = -0.018 - 0.35 * np.clip(x - 0.01, 0, 0.02) - 0.12 * x
    outside = (wearer.regions["skin"] > 0.5)[wearer.faces].all(1)
    outside &= (wearer.regions["mouth_interior"] < 0.5)[wearer.faces].all(1)
    chosen = outside & (y < top) & (y > -0.122) & (z > 0.020) & (x < 0.068)
    solid = _offset_sheet(wearer, chosen, 0.004, 25)
    color = [(0.62, 0.78, 0.88), (0.93, 0.94, 0.95), (0.08, 0.08, 0.09), (0.55, 0.75, 0.68)][rng.integers(4)]
    texture = _flat_texture(np.array(color), rng, 96, 0.015)
    pleats = 1 - 0.12 * (np.abs(np.linspace(0, 14, 96) % 1 - 0.5) < 0.12)
    texture[..., :3] = texture[..., :3] * pleats[:, None, None]
    return [Accessory("mask", solid, Material(texture, MATTE, 0.02, 3, two_sided=True))]


def _scarf(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    high = rng.uniform(-0.10, -0.075)
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    lower = wearer.vertices[(wearer.vertices[:, 1] > high - 0.05) & (wearer.vertices[:, 1] < high)]
    centre = np.array([0, 0, lower[:, 2].mean()])
    rings = []
    for level, (drop, bulge) in enumerate(
        ((0.0, 0.004), (0.012, 0.016), (0.035, 0.022), (0.06, 0.02), (0.085, 0.012), (0.10, 0.0))
    ):
        close = wearer.vertices[
            np.abs(wearer.vertices[:, 1] - (high - drop - 0.12 * (centre[2] - wearer.vertices[:, 2]))) < 0.02
        ]
        angle = np.arctan2(close[:, 0], close[:, 2] - centre[2])
        reach = np.hypot(close[:, 0], close[:, 2] - centre[2])
        radius = np.array(
            [reach[np.abs((angle - a + np.pi) % (2 * np.pi) - np.pi) < 0.35].max(initial=0.06) for a in around]
        )
        radius = np.minimum(radius, 0.13) + bulge + 0.004
        radius += 0.004 * point_noise(np.random.default_rng(level), np.stack([np.cos(around), np.sin(around)], -1), 1.0)
        tilt = 0.12 * (np.cos(around) * radius)
        rings.append(np.stack([radius * np.sin(around), high - drop + tilt, centre[2] + radius * np.cos(around)], -1))
    solid = grid_solid(np.stack(rings).astype(np.float32), wrap=True)
    size = 128
    color, second = _cloth_color(rng), _cloth_color(rng)
    texture = _flat_texture(color, rng, size, 0.12)
    bands = (np.linspace(0, rng.integers(3, 9), size) % 1 < rng.uniform(0.0, 0.5))[:, None, None]
    folds = 1 + 0.15 * image_noise(rng, size, size, 6)[..., None]
    rgb = np.where(bands, second, texture[..., :3] / 255) * folds
    texture[..., :3] = (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return [Accessory("scarf", solid, Material(texture, MATTE, 0.02, 3, two_sided=True))]


def _cap(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    middle = wearer.template[wearer.faces].mean(1)
    outside = (wearer.regions["skin"] > 0.5)[wearer.faces].all(1) & (wearer.regions["ears"] < 0.5)[wearer.faces].all(1)
    # A band that dips behind.
    rim = 0.044 + 0.22 * np.clip(middle[:, 2], -0.06, 0.04) * 0.5
    solid = _offset_sheet(wearer, outside & (middle[:, 1] > rim), 0.014, 6)
    color = _cloth_color(rng)
    material = Material(_flat_texture(color, rng, 64, 0.10), MATTE, 0.02, 3, two_sided=True)
    things = [Accessory("cap", solid, material)]
    if rng.random() < 0.5:
        front = solid.vertices[solid.vertices[:, 2] > 0.02]
        low = front[:, 1].min() + 0.006
        around = np.linspace(-0.95, 0.95, 16)
        inner = np.stack([0.072 * np.sin(around), np.full(16, low), 0.092 * np.cos(around) - 0.006], -1)
        outer = inner + np.stack([0.012 * np.sin(around), np.full(16, -0.016), 0.06 * np.cos(around) ** 0.7], -1)
        brim = grid_solid(np.stack([inner, (inner + outer) / 2 + [0, 0.004, 0], outer]).astype(np.float32))
        things.append(Accessory("brim", brim, material))
    return things


_TARGETS = {
    "mouth": (0.0, -0.075, 0.095),
    "cheek": (0.05, -0.04, 0.065),
    "eye": (0.032, 0.0, 0.08),
    "chin": (0.0, -0.105, 0.085),
}


def _target(wearer: Wearer, rng: np.random.Generator, names: list[str]) -> tuple[Array, Array]:
    """A point of the face at rest and the normal there; left and right by chance."""
    place = np.array(_TARGETS[names[rng.integers(len(names))]]) * [rng.choice([-1, 1]), 1, 1]
    face = np.flatnonzero(wearer.regions["face"] > 0.5)
    nearest = face[((wearer.template[face] - place) ** 2).sum(-1).argmin()]
    return wearer.vertices[nearest], wearer.normals[nearest]


def _hand(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    point, normal = _target(wearer, rng, ["mouth", "cheek", "eye", "chin"])
    side = 1.0 if point[0] > 0 or (point[0] == 0 and rng.random() < 0.5) else -1.0
    parts = []
    curl = rng.uniform(0.02, 0.35)
    for finger, (x, length) in enumerate(((-0.030, 0.066), (-0.010, 0.075), (0.010, 0.071), (0.029, 0.058))):
        spread = x * rng.uniform(0.9, 1.5)
        bends = np.cumsum([0.0, curl, curl * 1.2, curl]) * rng.uniform(0.6, 1.2)
        steps = np.stack([np.full(4, (spread - x) / 0.07 * 0.3), np.cos(bends), -np.sin(bends)], -1)
        line = np.array([x, 0.045, 0]) + np.concatenate([[[0, 0, 0]], np.cumsum(steps * length / 4, 0)])
        parts.append(capsule(line, 0.0092 - 0.0004 * finger, 0.0068, 10))
    thumb = np.array([[-0.036, -0.01, -0.004], [-0.058, 0.012, -0.010], [-0.068, 0.04, -0.012]])
    parts.append(capsule(thumb, 0.0115, 0.0085, 10))
    parts.append(ball((0.043, 0.054, 0.0145)))
    parts.append(capsule(np.array([[0, -0.03, -0.002], [0.0, -0.10, -0.012], [0.02, -0.30, -0.07]]), 0.027, 0.036, 14))
    hand = joined(parts)
    # Palm's back towards the camera; fingers point up and inwards over the face.
    roll = side * rng.uniform(0.1, 1.1)
    turn = Rotation.from_euler(
        "zyx", [roll, 0.35 * np.arctan2(normal[0], normal[2]), rng.uniform(-0.2, 0.1)]
    ).as_matrix()
    mirrored = np.diag([side, 1, 1]).astype(np.float32)
    if side < 0:
        hand = Solid(hand.vertices @ mirrored, hand.normals @ mirrored, hand.faces[:, ::-1], hand.corner_uv[:, ::-1])
    fingers_at = turn @ np.array([0, 0.07, 0])
    hand = hand.moved(turn, point - fingers_at + normal * 0.024 + np.array([0, 0, 0.004]))
    size = 64
    color = wearer.skin * (1 + 0.06 * image_noise(rng, size, size, 8, octaves=2)[..., None])
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = (np.clip(linear_to_srgb(color), 0, 1) * 255).astype(np.uint8)
    return [Accessory("hand", hand, Material(texture, SKIN, 0.05, 4, two_sided=True))]


def _phone(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    point, _ = _target(wearer, rng, ["cheek", "mouth"])
    slab = rounded_box(np.array([0.073, 0.148, 0.008]), 0.009)
    turn = Rotation.from_euler(
        "zyx", [rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.3)]
    ).as_matrix()
    place = np.array(
        [point[0] * 1.4, point[1] - rng.uniform(0.0, 0.05), wearer.vertices[:, 2].max() + rng.uniform(0.03, 0.07)]
    )
    size = 96
    texture = _flat_texture(rng.choice([np.full(3, 0.06), np.full(3, 0.85), _cloth_color(rng)]), rng, size, 0.0)
    cv2.rectangle(texture, (6, 4), (44, 30), (25, 25, 28, 255), -1)
    for spot in ((16, 11), (34, 11), (16, 24)):
        cv2.circle(texture, spot, 5, (70, 70, 80, 255), -1)
    phone = Accessory("phone", slab.moved(turn, place), Material(texture, MATTE, 0.3, 6, two_sided=True))
    grip = []
    for k in range(4):
        y = 0.02 - 0.024 * k
        line = np.array([[-0.05, y - 0.006, -0.02], [-0.04, y, 0.006], [-0.012, y + 0.002, 0.011]])
        grip.append(capsule(line, 0.0085, 0.007))
    grip.append(capsule(np.array([[0.0, -0.06, -0.03], [0.01, -0.30, -0.06]]), 0.03, 0.036, 14))
    grip.append(ball((0.04, 0.045, 0.018)).moved(np.eye(3), np.array([0, -0.035, -0.026])))
    skin = np.full((4, 4, 4), 255, np.uint8)
    skin[..., :3] = (np.clip(linear_to_srgb(wearer.skin), 0, 1) * 255).astype(np.uint8)
    return [phone, Accessory("hand", joined(grip).moved(turn, place), Material(skin, SKIN, 0.05, 4, two_sided=True))]


def _cup(wearer: Wearer, rng: np.random.Generator) -> list[Accessory]:
    point, _ = _target(wearer, rng, ["mouth"])
    height, radius = rng.uniform(0.08, 0.11), rng.uniform(0.034, 0.042)
    cup = tube(
        np.array([[0, height, 0], [0, height * 0.98, 0], [0, 0.004, 0], [0, 0, 0]]),
        np.array([radius, radius, radius * 0.8, 0.001]),
        24,
    )
    turn = Rotation.from_euler("x", -rng.uniform(0.2, 0.6)).as_matrix()
    place = point + np.array([rng.normal(0, 0.008), -height * 0.9, radius + 0.012])
    texture = _flat_texture(rng.choice([np.full(3, 0.9), _cloth_color(rng)]), rng, 64, 0.02)
    fingers = []
    for k in range(4):
        a = np.linspace(-2.2, 0.35, 7)
        y = 0.02 + 0.019 * k
        fingers.append(
            capsule(
                np.stack([(radius + 0.006) * np.sin(a), np.full(7, y), (radius + 0.006) * np.cos(a)], -1), 0.009, 0.0075
            )
        )
    fingers.append(
        capsule(
            np.array([[-radius - 0.012, 0.04, -0.02], [-radius - 0.05, -0.08, -0.03], [-0.12, -0.26, -0.06]]),
            0.03,
            0.036,
            14,
        )
    )
    skin = np.full((4, 4, 4), 255, np.uint8)
    skin[..., :3] = (np.clip(linear_to_srgb(wearer.skin), 0, 1) * 255).astype(np.uint8)
    return [
        Accessory("cup", cup.moved(turn, place), Material(texture, MATTE, 0.2, 5, two_sided=True)),
        Accessory("hand", joined(fingers).moved(turn, place), Material(skin, SKIN, 0.05, 4, two_sided=True)),
    ]


KINDS: dict[str, Callable[[Wearer, np.random.Generator], list[Accessory]]] = {
    "glasses": _glasses,
    "sunglasses": _sunglasses,
    "mask": _mask,
    "scarf": _scarf,
    "cap": _cap,
    "hand": _hand,
    "phone": _phone,
    "cup": _cup,
}
