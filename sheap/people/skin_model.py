"""The statistical skin that ships with the package: colour and fine detail of eleven CC0 skins over the head, and brows.

Colour is log linear RGB a vertex, without the skin's own mean tone; detail is what lightness adds to it between vertices. A
person's skin is a mixture of them that changes over the face (sheap.people.skin). Made by sheap.people.skin_recipe.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from sheap.files import write_bytes
from sheap.people.uv_atlas import UvPatch

Array = NDArray[np.float32]

FORMAT = "sheap-skins-1"
OPEN_SKINS_PATH = Path(__file__).with_name("open_skins.safetensors")

DETAIL_RANGE = 0.5
"""Largest detail that a byte holds, in log of linear light."""
MIRROR_V = 0.483167
"""Left and right of the face mirror about this line of the UV plane."""
DETAIL_BOXES = {
    "face": (0.748, MIRROR_V - 0.129, 0.975, MIRROR_V + 0.129),
    "skull": (0.630, MIRROR_V - 0.3445, 1.000, MIRROR_V + 0.3445),
}
"""Parts of the UV plane (u0, v0, u1, v1) with detail, by the patch that shows them; a box mirrors into itself."""
DETAIL_DENSITY = {"face": 1024, "skull": 512}
"""Texels of detail in a unit of UV: what the CC0 skins have, half of it beside the face."""
BROW_BOX = (0.004, 0.002, 0.072, 0.046)
"""Left, bottom, right, top (m on the mean head, seen from the front) of a brow's picture."""
BROW_TEXEL = 0.00035


@dataclass(frozen=True)
class Source:
    """Whose skin it is: a name, sex, age in years and ancestry (shares of ANCESTRIES)."""

    name: str
    sex: str
    age_years: float
    ancestry: tuple[float, float, float]


@dataclass(frozen=True)
class SkinModel:
    """sources: the K skins; tones [K, 3]: their mean colours, log linear RGB; colours [K, V, 3]: what each vertex adds to it;
    details: bytes [K, h, w] by patch name (128: none); brows: cover [B, h, w], bytes, of the left brow."""

    sources: tuple[Source, ...]
    tones: Array
    colours: Array
    details: dict[str, NDArray[np.uint8]]
    brows: NDArray[np.uint8]

    def detail_on(self, patch: UvPatch) -> NDArray[np.int8] | None:
        """Detail of the K skins, then of their mirror images, at the patch's texels [2 K, H, W] (127: DETAIL_RANGE)."""
        if patch.name not in self.details:
            return None
        stacks = [image.astype(np.float32) - 128 for image in self.details[patch.name]]
        warped = [_crop(image, DETAIL_BOXES[patch.name], patch) for image in stacks + [image[::-1] for image in stacks]]
        return np.clip(np.round(np.stack(warped)), -127, 127).astype(np.int8)


def _crop(image: Array, box: tuple[float, float, float, float], patch: UvPatch) -> Array:
    height, width = image.shape[:2]
    (u0, v0, u1, v1), (p0, q0, p1, q1) = box, patch.box
    rows, columns = patch.shape
    per_u, per_v = width / (u1 - u0), height / (v1 - v0)
    scale_x, scale_y = (p1 - p0) * per_u / columns, (q1 - q0) * per_v / rows
    matrix = np.array(
        [
            [scale_x, 0, (p0 - u0) * per_u + 0.5 * scale_x - 0.5],
            [0, scale_y, (v1 - q1) * per_v + 0.5 * scale_y - 0.5],
        ],
        np.float32,
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(image), matrix, (columns, rows), flags=flags, borderValue=0)


def write_skins(model: SkinModel, path: Path) -> None:
    tensors = {"tones": model.tones, "colours": model.colours.astype(np.float16), "brows": model.brows}
    tensors |= {f"detail.{name}": value for name, value in model.details.items()}
    sources = [[s.name, s.sex, s.age_years, list(s.ancestry)] for s in model.sources]
    write_bytes(path, save(tensors, {"format": FORMAT, "sources": json.dumps(sources)}))


def read_skins(path: Path) -> SkinModel:
    """Raises ValueError naming the file when it is no file of skins."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not a file of skins (format {FORMAT})")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ValueError(f"{path}: {error}") from None
    sources = tuple(Source(name, sex, age, tuple(shares)) for name, sex, age, shares in json.loads(metadata["sources"]))
    details = {name.split(".", 1)[1]: value for name, value in tensors.items() if name.startswith("detail.")}
    return SkinModel(
        sources, tensors["tones"].astype(np.float32), tensors["colours"].astype(np.float32), details, tensors["brows"]
    )


@cache
def open_skins() -> SkinModel:
    """The package's skins, read once a process."""
    return read_skins(OPEN_SKINS_PATH)
