"""BlazeFace (short range): where faces are in a picture.

Source: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (arXiv 1907.05047); anchor
layout and decoding follow the published model card. Coordinates are pixels, pixel centres at +0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.face_models import LiteModel, check_image

NUM_KEYPOINTS = 6
"""Right eye, left eye, nose tip, mouth, right ear, left ear (the person's own right and left)."""

MIN_SCORE = 0.5
MAX_OVERLAP = 0.3
"""Boxes whose intersection over union exceeds this are the same face."""

_ANCHOR_GRIDS = ((16, 2), (8, 6))
"""(cells a side, anchors a cell): strides 8 and 16 of a 128 pixel input; 16*16*2 + 8*8*6 = 896."""


@dataclass(frozen=True)
class FaceDetection:
    """One face: box (left, top, right, bottom) in px, keypoints [6, 2] in px, score in 0..1."""

    box: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    score: float


class FaceDetector:
    """Finds faces that are not tiny: roughly a tenth of the picture's longer side and up."""

    def __init__(self, content: bytes, num_threads: int = 1) -> None:
        self._model = LiteModel(content, num_threads)
        self._anchors = anchor_centres()

    def detect(self, image: NDArray[np.uint8]) -> list[FaceDetection]:
        """Faces in a uint8 RGB picture [H, W, 3], best first. Raises ValueError on another dtype or shape."""
        check_image(image)
        height, width = image.shape[:2]
        side = self._model.input_width
        scale = max(height, width) / side
        left, top = (width - scale * side) / 2, (height - scale * side) / 2
        # MediaPipe samples from corner to corner here, without half-pixel shifts, and so do we: a box is then off by at
        # most half a detector pixel, but the landmark model is shown the very region that MediaPipe would show it.
        to_source = np.array([[scale, 0, left], [0, scale, top]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        letterboxed = cv2.warpAffine(image, to_source, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)
        outputs = self._model(letterboxed.astype(np.float32) / 127.5 - 1.0)
        scores, boxes, keypoints = decode(outputs["classificators"][0, :, 0], outputs["regressors"][0], self._anchors)
        shift = np.array([left, top], np.float32)
        size = scale * side
        return [
            FaceDetection(
                (box.reshape(2, 2) * size + shift).reshape(4).astype(np.float32),
                (points * size + shift).astype(np.float32),
                float(score),
            )
            for score, box, points in merge_overlapping(scores, boxes, keypoints)
        ]


def anchor_centres() -> NDArray[np.float32]:
    """Anchor centres [896, 2] (x, y) in 0..1 of the letterboxed square. All anchors have the size of the square."""
    centres = []
    for cells, per_cell in _ANCHOR_GRIDS:
        axis = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres).astype(np.float32, copy=False)


def decode(
    logits: NDArray[np.float32], regressors: NDArray[np.float32], anchors: NDArray[np.float32], input_size: int = 128
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Confident candidates in 0..1 of the square: scores [n], boxes [n, 4] (l, t, r, b), keypoints [n, 6, 2]."""
    scores = (1.0 / (1.0 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32, copy=False)
    keep = scores >= MIN_SCORE
    raw = regressors[keep] / input_size
    centre = raw[:, 0:2] + anchors[keep]
    half = raw[:, 2:4] / 2
    keypoints = raw[:, 4:].reshape(-1, NUM_KEYPOINTS, 2) + anchors[keep][:, None]
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return scores[keep], boxes.astype(np.float32, copy=False), keypoints.astype(np.float32, copy=False)


def merge_overlapping(
    scores: NDArray[np.float32], boxes: NDArray[np.float32], keypoints: NDArray[np.float32]
) -> list[tuple[float, NDArray[np.float32], NDArray[np.float32]]]:
    """Weighted non-maximum suppression: overlapping candidates become their score-weighted mean (BlazeFace, 3.3)."""
    remaining = np.argsort(-scores, kind="stable")
    faces = []
    while remaining.size:
        best = remaining[0]
        same = overlap(boxes[best], boxes[remaining]) > MAX_OVERLAP
        same[0] = True
        group = remaining[same]
        weights = scores[group] / scores[group].sum()
        faces.append(
            (
                float(scores[best]),
                np.einsum("n,nc->c", weights, boxes[group]),
                np.einsum("n,nkc->kc", weights, keypoints[group]),
            )
        )
        remaining = remaining[~same]
    return faces


def overlap(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box [4] with boxes [n, 4], all (left, top, right, bottom): [n]."""
    common = np.maximum(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0)
    intersection = common[:, 0] * common[:, 1]
    area = max(box[2] - box[0], 0) * max(box[3] - box[1], 0)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas = sides[:, 0] * sides[:, 1]
    return (intersection / np.maximum(area + areas - intersection, 1e-12)).astype(np.float32, copy=False)
