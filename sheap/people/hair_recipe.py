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
_LOWEST_FRINGE = 0.036
"""Height (m) that a fringe over the eyes is cut to."""
_CUT_SPAN = 0.02
"""Hair up to so far (m) above the cut gives way with it, so that its texture is pressed together and not folded."""
_TORN = 0.02
"""Rise (m) that would tear hair beside it."""
_SMOOTHINGS = 3
"""How often the teeth of a torn edge are worn down."""
_OVER_THE_EYES = (0.057, 0.052)
"""Distances (m) from the middle beyond which hair hangs as it was made, and within which it is cut."""


def build_hair(assets: MakeHumanAssets, head: HeadModel) -> list[BoundMesh]:
    """All hair of the folder, with small textures. Raises ValueError when it holds none."""
    if not assets.hair:
        raise ValueError(f"assets: {assets.folder} holds no hair/NAME/NAME.mhclo")
    points = np.concatenate([head.template.numpy(), head.attachment_template.numpy()]).astype(np.float32)
    return [_off_the_eyes(_small(assets.mesh(path)), points) for path in assets.hair]


def _off_the_eyes(mesh: BoundMesh, points: NDArray[np.float32]) -> BoundMesh:
    """A fringe that hangs over an eye is cut above it, along its own sweep: faces are rendered to be looked at.

    points [V + M, 3]: the mean head's vertices and loose points.
    """
    vertices, _ = mesh.fitted(points)
    x, y, z = vertices.T
    above = y - _LOWEST_FRINGE
    # The lower it hung, the nearer to the cut it ends: what swept to a side still does.
    cut = np.where(above < _CUT_SPAN, _CUT_SPAN * np.exp(np.minimum(above - _CUT_SPAN, 0) / _CUT_SPAN), above)
    share = smoothstep(*_OVER_THE_EYES, np.abs(x)) * smoothstep(0.02, 0.05, z)
    rise = share * (cut - above)
    moved = np.stack([np.zeros_like(x), rise, np.zeros_like(x)], -1)
    unit = np.array([abs(points[a, k] - points[b, k]) / d for k, (a, b, d) in enumerate(mesh.scales)], np.float32)
    # Between what is cut and what hangs on beside it, nothing is left to stretch.
    left = (np.ptp(share[mesh.faces], axis=1) < 0.3) | (rise[mesh.faces].max(1) < _TORN)
    moved = _evened(vertices + moved, mesh.faces, mesh.faces[left]) - vertices
    return replace(
        mesh, offsets=(mesh.offsets + moved / unit).astype(np.float32), faces=mesh.faces[left], corner_uv=mesh.corner_uv[left]
    )


def _evened(vertices: NDArray[np.float32], faces: NDArray, left: NDArray) -> NDArray[np.float32]:
    """Vertices [N, 3] with the teeth of a torn edge worn down: what the missing faces leave is smoothed along itself.

    faces [F, 3]: all; left: those that stay.
    """
    torn = _rim(left) - _rim(faces)
    out = vertices.astype(np.float64).copy()
    ends = np.array(sorted(torn), dtype=np.int64).reshape(-1, 2)
    if not len(ends):
        return vertices
    count = np.bincount(ends.ravel(), minlength=len(out))
    inner = count == 2
    for _ in range(_SMOOTHINGS):
        total = np.zeros_like(out)
        np.add.at(total, ends[:, 0], out[ends[:, 1]])
        np.add.at(total, ends[:, 1], out[ends[:, 0]])
        out[inner] = 0.5 * out[inner] + 0.25 * total[inner]
    return out.astype(np.float32)


def _rim(faces: NDArray) -> set[tuple[int, int]]:
    """Edges (lower vertex first) that belong to one face alone."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, number = np.unique(edges, axis=0, return_counts=True)
    return {(int(a), int(b)) for a, b in unique[number == 1]}


def _small(mesh: BoundMesh) -> BoundMesh:
    side = (TEXTURE_SIDE, TEXTURE_SIDE)
    return replace(mesh, texture=cv2.resize(mesh.texture, side, interpolation=cv2.INTER_AREA))
