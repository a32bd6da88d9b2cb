"""Makes the package's hair out of a folder of MakeHuman's CC0 assets (`python -m pipeline.commands.looks build`)."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.head.model import HeadModel
from sheap.people.hair_model import BoundMesh
from sheap.people.makehuman import MakeHumanAssets
from sheap.people.noise import smoothstep

TEXTURE_SIDE = 384
_BESIDE_THE_EYE = 0.056
_EYE_LEVEL = (0.048, 0.022)
"""Heights (m) between which a fringe begins to be combed aside."""


def build_hair(assets: MakeHumanAssets, head: HeadModel) -> list[BoundMesh]:
    """All hair of the folder, with small textures. Raises ValueError when it holds none."""
    if not assets.hair:
        raise ValueError(f"assets: {assets.folder} holds no hair/NAME/NAME.mhclo")
    points = np.concatenate([head.template.numpy(), head.attachment_template.numpy()]).astype(np.float32)
    return [_off_the_eyes(_small(assets.mesh(path)), points) for path in assets.hair]


def _off_the_eyes(mesh: BoundMesh, points: NDArray[np.float32]) -> BoundMesh:
    """A fringe that hangs over an eye is combed to its side: faces are rendered to be looked at. points [V + M, 3]: the mean
    head's vertices and loose points."""
    vertices, _ = mesh.fitted(points)
    x, y, z = vertices.T
    aside = np.maximum(_BESIDE_THE_EYE - np.abs(x), 0) * smoothstep(*_EYE_LEVEL, y) * smoothstep(0.02, 0.05, z)
    moved = np.stack([np.sign(x) * aside, np.zeros_like(x), -0.7 * aside], -1)
    unit = np.array([abs(points[a, k] - points[b, k]) / d for k, (a, b, d) in enumerate(mesh.scales)], np.float32)
    return replace(mesh, offsets=(mesh.offsets + moved / unit).astype(np.float32))


def _small(mesh: BoundMesh) -> BoundMesh:
    side = (TEXTURE_SIDE, TEXTURE_SIDE)
    return replace(mesh, texture=cv2.resize(mesh.texture, side, interpolation=cv2.INTER_AREA))
