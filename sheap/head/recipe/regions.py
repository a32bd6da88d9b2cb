"""Named parts of the head as vertex masks, read from the package's UV paintings and mesh groups."""

from __future__ import annotations

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from sheap.head.recipe.source import BaseMesh
from sheap.head.recipe.topology import HeadTopology, subtree_weight

Mask = NDArray[np.bool_]

PAINTED = 64
"""Grey level above which a pixel of the package's soft-edged paintings counts as painted."""

BROW_BASE_VERTICES = (
    6892, 6897, 6902, 6929, 6930, 6931, 6933, 6934, 6935, 6942, 6943, 6944, 6946, 6947, 6948, 6950, 6951, 6952, 6953,
    6954, 6955, 6956, 6957, 6966, 6979, 6980, 6981, 6982, 6983, 6984, 6985, 6986, 6987, 6996, 6998, 6999, 7022, 7023,
    7024, 7030, 7031,
)  # fmt: skip
"""Base-mesh vertices under the left brow: those that at least half of MakeHuman's twelve brow styles are bound to."""

BROW_RIDGE_BASE_VERTICES = (
    6942, 6943, 6947, 6950, 6951, 6952, 6953, 6954, 6956, 6957, 6979, 6980, 6981, 6982, 7023, 7024
)  # fmt: skip
"""The same for all twelve styles: the middle of the left brow."""


def paint_regions(base: BaseMesh, head: HeadTopology, points: NDArray[np.float64]) -> dict[str, Mask]:
    """Masks over points [P] by name. `points` [P, 3]: the mean head, for regions cut by planes rather than by
    painting."""
    textures = base.data_dir / "mpfb2/textures"
    painted = {
        name: _points_under(head, np.asarray(Image.open(textures / file).convert("L")) > PAINTED)
        for name, file in {
            "lips": "mpfb_lips.jpg",
            "ears": "mpfb_ears.jpg",
            "eyelids": "mpfb_eyelids.jpg",
            "frontal": "mpfb_face.jpg",
        }.items()
    }
    segments = base.data_dir / "segmentation"
    colours = yaml.safe_load((segments / "body_parts_segmentation.yaml").read_text(encoding="utf-8"))["colors"]
    picture = np.asarray(Image.open(segments / "body_parts_segmentation.png").convert("RGB"))
    for name, labels in {"eye_sockets": ("eye_cavity.L", "eye_cavity.R"), "mouth_interior": ("mouth_cavity",)}.items():
        painted[name] = _points_under(head, np.any([(picture == colours[label]).all(-1) for label in labels], axis=0))
    skin = head.part_mask("skin")
    regions: dict[str, Mask] = {name: mask & skin for name, mask in painted.items()}
    for part in ("skin", "eyeball_left", "eyeball_right", "tongue", "teeth_upper", "teeth_lower"):
        regions[part] = head.part_mask(part)
    regions["teeth"] = regions["teeth_upper"] | regions["teeth_lower"]
    regions["eyeballs"] = regions["eyeball_left"] | regions["eyeball_right"]
    outer = skin & ~regions["eye_sockets"] & ~regions["mouth_interior"]
    on_skull = subtree_weight(base, "head")[head.base_ids] > 0.5
    regions["face"] = regions["frontal"] & outer & on_skull & ~regions["ears"]
    elsewhere = outer & ~regions["face"] & ~regions["ears"]
    y = points[:, 1]
    # Hair grows, sideburns included, down to the ears' lower end.
    regions["scalp"] = elsewhere & on_skull & (y > points[regions["ears"], 1].min())
    regions["neck"] = elsewhere & ~regions["scalp"]
    eye_top = points[regions["eyelids"], 1].max()
    regions["forehead"] = regions["face"] & (y > eye_top + 0.012)
    regions["brows"] = _both_sides(head, BROW_BASE_VERTICES)
    regions["brow_ridge"] = _both_sides(head, BROW_RIDGE_BASE_VERTICES)
    regions["eyes"] = regions["eyelids"] | regions["eyeballs"]
    eyes = np.abs(points[regions["eyeballs"]]).mean(axis=0)
    regions["nose"] = regions["face"] & _nose(points, eyes[0], eyes[1], points[regions["lips"], 1].max())
    return regions


def _both_sides(head: HeadTopology, left_base_ids: tuple[int, ...]) -> Mask:
    mask = np.zeros(len(head.base_ids), dtype=bool)
    mask[head.local_ids(np.array(left_base_ids))] = True
    return mask | mask[head.mirror]


def _nose(points: NDArray[np.float64], half_eyes: float, eye_y: float, lip_top: float) -> Mask:
    """A wedge from between the eyes to the wings of the nose."""
    x, y, _ = points.T
    wing_y = lip_top + 0.006
    down = ((eye_y - y) / (eye_y - wing_y)).clip(0, 1)
    half_width = (0.28 + 0.35 * down) * half_eyes
    return (y > wing_y) & (y < eye_y + 0.004) & (np.abs(x) < half_width)


def _points_under(head: HeadTopology, painting: Mask) -> Mask:
    """Points [P] any of whose UV corners falls on a painted pixel; `painting` [H, W] with v = 0 at the bottom row."""
    height, width = painting.shape
    columns = (head.uv_coords[:, 0] * width).astype(np.int64).clip(0, width - 1)
    rows = ((1 - head.uv_coords[:, 1]) * height).astype(np.int64).clip(0, height - 1)
    mask = np.zeros(len(head.base_ids), dtype=bool)
    np.logical_or.at(mask, head.faces.reshape(-1), painting[rows, columns][head.uv_faces.reshape(-1)])
    # The paintings are not symmetric to the pixel; the head is.
    return mask | mask[head.mirror]
