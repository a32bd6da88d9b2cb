"""Our LiteRT landmarks against the mediapipe package itself, where that loads (it needs EGL and GLES libraries)."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap.video.face_landmarker import FaceLandmarker, roi_from_detection
from sheap.video.face_models import find_bundle

IMAGES = Path(__file__).parents[2].parent / "shared" / "images"


@pytest.fixture(scope="module")
def oracle():
    try:
        version = importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("mediapipe is not installed")
    if version.startswith("0."):
        pytest.skip(f"mediapipe {version} is here for its model files only; the oracle needs 1.2 and its own protobuf")
    try:
        import mediapipe
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision
    except (ImportError, OSError) as error:
        pytest.skip(f"mediapipe cannot be loaded here: {error}")
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(find_bundle())), num_faces=3
    )

    def detect(image: np.ndarray) -> np.ndarray:
        result = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
        height, width = image.shape[:2]
        return np.array([[[p.x * width, p.y * height, p.z * width] for p in face] for face in result.face_landmarks])

    landmarker = vision.FaceLandmarker.create_from_options(options)
    yield detect
    landmarker.close()


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 8, 9, 10, 12])
def test_landmarks_match_mediapipe(oracle, number):
    """Measured on nine pictures, mediapipe 1.2.2: 0.02 to 0.08 px on average, once its half-pixel shift is removed."""
    path = IMAGES / f"source_s{number}.jpg"
    if not path.exists():
        pytest.skip(f"{path} is absent: real pictures are not part of the project")
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    landmarker = FaceLandmarker()
    roi = roi_from_detection(landmarker.detect(image)[0])
    ours = landmarker.landmarks(image, roi).points
    (theirs,) = oracle(image)
    turn = np.array([[np.cos(roi.rotation), -np.sin(roi.rotation)], [np.sin(roi.rotation), np.cos(roi.rotation)]])
    theirs[:, :2] += 0.5 - turn @ np.full(2, 0.5 * roi.side / 256)
    error = np.linalg.norm(ours[:, :2] - theirs[:, :2], axis=1)
    assert error.mean() < 0.15
    assert np.abs(ours[:, 2] - theirs[:, 2]).mean() < 0.3
