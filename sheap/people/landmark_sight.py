"""Which landmarks of a rendered face are seen, and what stands before the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.people.person import Person
from sheap.people.scene import Posed, Rendered

Array = NDArray[np.float32]

VISIBLE, BEHIND_FACE, BEHIND_HAIR, BEHIND_THINGS, OUTSIDE = range(5)
"""What stands between the camera and a landmark. OUTSIDE: it lies beyond the picture."""

_FIRST_IRIS = 468
_DEPTH_TOLERANCE_M = 0.004


def landmark_state(
    person: Person, rendered: Rendered, head: Posed, points: Array, world_to_cam: Array, K: Array
) -> NDArray[np.uint8]:
    """State [478] uint8 (VISIBLE, BEHIND_FACE, BEHIND_HAIR, BEHIND_THINGS or OUTSIDE) of each landmark of a rendered picture.

    head: the scene's block of that name as it was rendered; points [478, 3]: the landmarks in the world (m). world_to_cam [4, 4]
    and K [3, 3] are the picture's.
    """
    in_cam = points @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]
    pixels = in_cam[:, :2] / in_cam[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
    height, width = rendered.piece_ids.shape
    inside = ((pixels >= 0) & (pixels < (width, height))).all(1)
    columns, rows = np.clip(pixels.astype(int), 0, (width - 1, height - 1)).T
    things = {thing.name for thing in person.accessories}
    blocking = np.array([_blocking(piece.name, piece.block, things) for piece in person.scene.pieces] + [VISIBLE])
    piece = rendered.piece_ids[rows, columns]
    hidden = rendered.depths[rows, columns] < in_cam[:, 2] - _DEPTH_TOLERANCE_M
    state = np.where(hidden, blocking[piece], VISIBLE)
    # Within the tolerance of an edge, the surface's turn decides; rims of lids and lips turn away a little and show.
    turned = _cosine_to_camera(person, head, points, world_to_cam) < -0.25
    state = np.where((state == VISIBLE) & turned, BEHIND_FACE, state)
    # Lids are thinner than the tolerance: an iris is seen where the picture shows an eye.
    shown = np.array([piece.name.startswith("eye ") for piece in person.scene.pieces] + [False])
    iris = np.arange(len(state)) >= _FIRST_IRIS
    state = np.where(iris & (state == VISIBLE) & ~shown[piece] & (blocking[piece] == BEHIND_FACE), BEHIND_FACE, state)
    return np.where(inside, state, OUTSIDE).astype(np.uint8)


def _cosine_to_camera(person: Person, head: Posed, points: Array, world_to_cam: Array) -> Array:
    """Cosine [478] between the surface's normal at each landmark and the way to the camera."""
    studio = person.studio
    normals = (head.normals[studio.landmark_corners] * studio.landmark_weights).sum(1)
    towards = -world_to_cam[:3, :3].T @ world_to_cam[:3, 3] - points
    return (normals * towards).sum(1) / np.linalg.norm(normals, axis=1) / np.linalg.norm(towards, axis=1)


def _blocking(piece: str, block: str, things: set[str]) -> int:
    """What a landmark is behind when this piece hides it. Lashes and brows are too thin to hide one."""
    if block in things or piece == "torso" or piece.startswith("collar"):
        return BEHIND_THINGS
    if piece in ("hair", "bun", "beard"):
        return BEHIND_HAIR
    return VISIBLE if piece in ("lashes", "brows") else BEHIND_FACE
