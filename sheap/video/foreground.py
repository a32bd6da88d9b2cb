"""The foreground of a crop: the head with its hair and the top of the neck, as opacity.

One interface, two backends: `selfie` (a MediaPipe segmenter on LiteRT, the better one) and `grabcut` (colour models and
a head-shaped prior; no weights). `auto` takes the first whose files are there, and every clip records which it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.grabcut_mask import GrabCutMask
from sheap.video.head_pose import CHIN_CM, fit_head_pose
from sheap.video.selfie_mask import SelfieMask, find_segmenter

MaskBackendName = Literal["auto", "selfie", "grabcut"]

_HANGING_TOGETHER = 25
"""Opacity from which a pixel joins its neighbours; fainter ones are nothing."""

NECK_CM = 2.5
"""How much neck stays below the chin."""

NECK_HALF_WIDTH_CM, SHOULDER_SLOPE = 6.0, 1.0
"""How far to the sides the cut is level, and how fast it rises beyond."""


class MaskBackend(Protocol):
    """Finds the person in a head crop."""

    name: str

    def person(
        self, crop: NDArray[np.uint8], landmarks_px: NDArray[np.float32], previous: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Opacity uint8 [S, S] of the person in a crop [S, S, 3]; `previous` is the last frame's, in its own crop."""


def load_mask_backend(name: MaskBackendName, model_path: Path | str | None = None, num_threads: int = 1) -> MaskBackend:
    """The named backend; `auto` is `selfie` where its model is installed or named, else `grabcut`.

    Raises FileNotFoundError when `selfie` is asked for, or a path is named, and the model is not there.
    """
    if name == "grabcut":
        return GrabCutMask()
    if name == "auto" and model_path is None:
        try:
            found = find_segmenter()
        except FileNotFoundError:
            return GrabCutMask()
        return SelfieMask(found, num_threads)
    return SelfieMask(find_segmenter(model_path), num_threads)


def head_mask(
    backend: MaskBackend,
    crop: NDArray[np.uint8],
    landmarks_px: NDArray[np.float32],
    inside: NDArray[np.bool_],
    previous: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The head's opacity uint8 [S, S]: the person, less what lies below the neck or beyond the picture (`inside`)."""
    person = backend.person(crop, landmarks_px, previous) * (above_neck(landmarks_px, crop.shape[0]) & inside)
    return person * _joined_to_face(person, landmarks_px)


def _joined_to_face(mask: NDArray[np.uint8], landmarks_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pixels hang together with the face: islands of background, and other people, do not."""
    seeds = np.zeros_like(mask)
    hull = cv2.convexHull(np.ascontiguousarray(landmarks_px[:468, :2], dtype=np.float32))
    cv2.fillConvexPoly(seeds, hull.astype(np.int32), 1)
    count, labels = cv2.connectedComponents((mask > _HANGING_TOGETHER).astype(np.uint8), connectivity=4)
    joined = np.zeros(count, bool)
    joined[labels[seeds > 0]] = True
    joined[0] = False
    return joined[labels]


def above_neck(landmarks_px: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    """Which pixels [size, size] lie above the cut through the neck, drawn along the head's own axes.

    The cut is level below the chin and rises to both sides, over the shoulders. An open jaw lowers it, so that the chin
    always stays.
    """
    pose = fit_head_pose(landmarks_px)
    up = pose.rotation[:2, 1] * [1, -1]
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    neck = pose.project(np.array([0.0, CHIN_CM - NECK_CM, -2.0]))
    chin = landmarks_px[152, :2] - up * pose.px_per_cm
    level = min(float(neck @ up), float(chin @ up))
    axis = np.arange(size) + 0.5
    height = (axis[None] * up[0] + axis[:, None] * up[1] - level) / pose.px_per_cm
    aside = np.abs((axis[None] - neck[0]) * up[1] - (axis[:, None] - neck[1]) * up[0]) / pose.px_per_cm
    return height >= SHOULDER_SLOPE * np.maximum(aside - NECK_HALF_WIDTH_CM, 0.0)
