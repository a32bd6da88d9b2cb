"""What is behind a person: walls, rooms, the outdoors or lights, drawn from simple shapes and out of focus as lenses
do."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.people.colours import bytes_to_linear
from sheap.people.noise import image_noise

Array = NDArray[np.float32]

KINDS = ("wall", "room", "outdoors", "lights", "clutter")


def sample_background(rng: np.random.Generator, height: int, width: int) -> Array:
    """A background [height, width, 3] in linear light."""
    kind = KINDS[rng.choice(len(KINDS), p=[0.28, 0.27, 0.18, 0.1, 0.17])]
    canvas = {"wall": _wall, "room": _room, "outdoors": _outdoors, "lights": _lights, "clutter": _clutter}[kind](
        rng, height, width
    )
    canvas = np.clip(canvas, 0, 1)
    blur = {
        "wall": (0.0, 5.0),
        "room": (0.5, 8.0),
        "outdoors": (1.0, 10.0),
        "lights": (1.5, 5.0),
        "clutter": (1.5, 12.0),
    }[kind]
    linear = bytes_to_linear((canvas * 255).astype(np.uint8))
    sigma = rng.uniform(*blur) * max(height, width) / 320
    if sigma > 0.3:
        linear = cv2.GaussianBlur(linear, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return linear * np.float32(rng.uniform(0.5, 1.15))


def _color(rng: np.random.Generator, saturation: float = 0.4, low: float = 0.15, high: float = 0.95) -> Array:
    """A random sRGB colour [3]."""
    hsv = np.array([[[rng.uniform(0, 360), rng.beta(1.2, 2.5) * saturation * 2, rng.uniform(low, high)]]], np.float32)
    hsv[..., 1] = np.minimum(hsv[..., 1], 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def _gradient(rng: np.random.Generator, height: int, width: int, first: Array, second: Array) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    t = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) / 1.42 + 0.5
    return first + t[..., None] * (second - first)


def _wall(rng: np.random.Generator, height: int, width: int) -> Array:
    base = _color(rng, 0.3, 0.2, 0.95)
    canvas = _gradient(rng, height, width, base * rng.uniform(0.6, 1.0), np.minimum(base * rng.uniform(0.9, 1.3), 1))
    canvas += rng.uniform(0, 0.03) * image_noise(rng, height, width, rng.uniform(2, 40), octaves=3)[..., None]
    if rng.random() < 0.3:
        # Bricks, tiles or wallpaper.
        period = rng.uniform(0.06, 0.3) * width
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        rows = (np.abs((y / period * rng.uniform(1, 2)) % 1 - 0.5) > 0.45).astype(np.float32)
        columns = (np.abs((x / period + rng.uniform()) % 1 - 0.5) > 0.46).astype(np.float32)
        canvas *= 1 - rng.uniform(0.05, 0.3) * np.maximum(rows[:, None], columns[None])[..., None]
    return canvas


def _room(rng: np.random.Generator, height: int, width: int) -> Array:
    canvas = _wall(rng, height, width)
    if rng.random() < 0.5:
        corner = int(rng.uniform(0.05, 0.95) * width)
        canvas[:, corner:] *= rng.uniform(0.65, 0.95)
    for _ in range(rng.integers(2, 6)):
        kind = rng.choice(["picture", "window", "shelf", "door", "lamp", "plant"])
        x = int(rng.uniform(-0.1, 0.95) * width)
        y = int(rng.uniform(-0.1, 0.6) * height)
        w, h = int(rng.uniform(0.12, 0.4) * width), int(rng.uniform(0.12, 0.45) * height)
        if kind == "picture":
            cv2.rectangle(canvas, (x, y), (x + w, y + h), _color(rng, 0.2, 0.05, 0.9).tolist(), -1)
            inner = max(2, w // 10)
            cv2.rectangle(canvas, (x + inner, y + inner), (x + w - inner, y + h - inner), _color(rng, 0.6).tolist(), -1)
            for _ in range(4):
                centre = (x + int(rng.uniform(0.2, 0.8) * w), y + int(rng.uniform(0.2, 0.8) * h))
                cv2.circle(canvas, centre, max(2, int(rng.uniform(0.05, 0.25) * w)), _color(rng, 0.6).tolist(), -1)
        elif kind == "window":
            cv2.rectangle(canvas, (x, y), (x + w, y + 2 * h), (0.96, 0.97, 1.0), -1)
            cv2.rectangle(canvas, (x, y), (x + w, y + 2 * h), (0.8, 0.8, 0.78), max(2, w // 16))
            cv2.line(canvas, (x + w // 2, y), (x + w // 2, y + 2 * h), (0.75, 0.75, 0.73), max(1, w // 24))
        elif kind == "shelf":
            wood = _color(rng, 0.4, 0.2, 0.6)
            for row in range(3):
                top = y + row * h // 2
                left = x
                while left < x + 2 * w:
                    thick = max(3, int(rng.uniform(0.02, 0.07) * width))
                    tall = int(rng.uniform(0.55, 0.95) * h / 2)
                    book = _color(rng, 0.8, 0.15, 0.8).tolist()
                    cv2.rectangle(canvas, (left, top + h // 2 - tall), (left + thick - 1, top + h // 2), book, -1)
                    left += thick
                cv2.rectangle(canvas, (x, top + h // 2), (x + 2 * w, top + h // 2 + 3), wood.tolist(), -1)
        elif kind == "door":
            wood = _color(rng, 0.3, 0.3, 0.9)
            cv2.rectangle(canvas, (x, height // 8), (x + w, height), wood.tolist(), -1)
            cv2.rectangle(canvas, (x, height // 8), (x + w, height), (wood * 0.6).tolist(), 2)
        elif kind == "lamp":
            cv2.circle(canvas, (x, y), max(3, w // 4), (1.0, 0.95, 0.8), -1)
        else:
            for _ in range(30):
                tip = (x + int(rng.normal(0, 0.4) * w), y + int(rng.normal(0, 0.4) * h))
                green = np.array([0.15, 0.4, 0.12]) * rng.uniform(0.5, 1.5)
                cv2.ellipse(
                    canvas, tip, (max(2, w // 8), max(1, w // 24)), rng.uniform(0, 180), 0, 360, green.tolist(), -1
                )
    return canvas


def _outdoors(rng: np.random.Generator, height: int, width: int) -> Array:
    horizon = int(rng.uniform(0.35, 0.75) * height)
    sky = np.array([0.55, 0.7, 0.9], np.float32) * rng.uniform(0.7, 1.05)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = sky + np.linspace(0, 0.25, height, dtype=np.float32)[:, None, None]
    clouds = image_noise(rng, height, width, 5, octaves=4)[..., None]
    canvas += np.clip(clouds, 0, 2) * 0.12
    ground = np.array([[0.25, 0.35, 0.15], [0.45, 0.42, 0.4], [0.6, 0.52, 0.4]], np.float32)[rng.integers(3)]
    canvas[horizon:] = ground * (1 + 0.15 * image_noise(rng, height - horizon, width, 30, octaves=2)[..., None])
    for _ in range(rng.integers(1, 6)):
        x = int(rng.uniform(-0.1, 1.0) * width)
        if rng.random() < 0.5:
            w, top = int(rng.uniform(0.1, 0.4) * width), int(rng.uniform(0.0, 0.8) * horizon)
            wall = _color(rng, 0.25, 0.25, 0.8)
            cv2.rectangle(canvas, (x, top), (x + w, horizon + 5), wall.tolist(), -1)
            for wy in range(top + 6, horizon - 8, 14):
                for wx in range(x + 5, x + w - 8, 14):
                    cv2.rectangle(canvas, (wx, wy), (wx + 6, wy + 8), (wall * rng.uniform(0.4, 0.8)).tolist(), -1)
        else:
            for _ in range(60):
                spot = (x + int(rng.normal(0, 0.08) * width), int(horizon * 0.6 + rng.normal(0, 0.14) * height))
                green = np.array([0.2, 0.38, 0.14]) * rng.uniform(0.4, 1.4)
                cv2.circle(canvas, spot, max(2, int(rng.uniform(0.01, 0.05) * width)), green.tolist(), -1)
    return canvas


def _lights(rng: np.random.Generator, height: int, width: int) -> Array:
    dark = _color(rng, 0.5, 0.03, 0.2)
    canvas = _gradient(rng, height, width, dark, _color(rng, 0.6, 0.05, 0.3))
    glow = np.zeros_like(canvas)
    for _ in range(rng.integers(10, 50)):
        centre = (int(rng.uniform() * width), int(rng.uniform() * height))
        layer = np.zeros((height, width), np.float32)
        cv2.circle(layer, centre, max(2, int(rng.uniform(0.008, 0.05) * width)), 1.0, -1, cv2.LINE_AA)
        glow += layer[..., None] * _color(rng, 0.7, 0.3, 0.9) * rng.uniform(0.3, 0.9)
    return canvas + glow


def _clutter(rng: np.random.Generator, height: int, width: int) -> Array:
    canvas = _gradient(rng, height, width, _color(rng), _color(rng))
    for _ in range(rng.integers(8, 40)):
        centre = rng.uniform(-0.1, 1.1, 2) * (width, height)
        size = rng.uniform(0.03, 0.3) * width
        corners = centre + size * rng.uniform(-1, 1, (rng.integers(3, 7), 2))
        cv2.fillPoly(canvas, [corners.astype(np.int32)], _color(rng, 0.7, 0.05).tolist(), cv2.LINE_AA)
    canvas += 0.05 * image_noise(rng, height, width, 40, octaves=2)[..., None]
    return canvas
