"""Makes the package's hair out of a folder of MakeHuman's CC0 assets (`python -m pipeline.looks build`)."""

from __future__ import annotations

from dataclasses import replace

import cv2

from sheap.people.hair_model import BoundMesh
from sheap.people.makehuman import MakeHumanAssets

TEXTURE_SIDE = 384


def build_hair(assets: MakeHumanAssets) -> list[BoundMesh]:
    """All hair of the folder, with small textures. Raises ValueError when it holds none."""
    if not assets.hair:
        raise ValueError(f"assets: {assets.folder} holds no hair/NAME/NAME.mhclo")
    return [_small(assets.mesh(path)) for path in assets.hair]


def _small(mesh: BoundMesh) -> BoundMesh:
    side = (TEXTURE_SIDE, TEXTURE_SIDE)
    return replace(mesh, texture=cv2.resize(mesh.texture, side, interpolation=cv2.INTER_AREA))
