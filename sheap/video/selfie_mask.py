"""People segmentation by MediaPipe's selfie model (Apache-2.0; 256x256 RGB in 0..1 to opacity) on LiteRT.

The wheels of `mediapipe` 0.10.x carry the model file; only the file is used, the package is never imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.video.face_models import LiteModel

_PACKAGE = "mediapipe"
_MEMBER = Path("modules/selfie_segmentation/selfie_segmentation.tflite")


def find_segmenter(path: Path | str | None = None) -> Path:
    """The model file: `path` where the user names one, else the copy in an installed `mediapipe` 0.10 wheel.

    Raises FileNotFoundError with the remedy.
    """
    if path is not None:
        named = Path(path)
        if not named.is_file():
            raise FileNotFoundError(f"{named}: no segmenter model there (expected a selfie_segmentation.tflite)")
        return named
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        candidate = Path(folder) / _MEMBER
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{_MEMBER.name}: not found; in a checkout 'sh infra/install_carried_files.sh python' brings it, elsewhere "
        "'pip install --no-deps mediapipe==0.10.21' (Python 3.11 or 3.12), or name a copy in ingest.mask.model"
    )


class SelfieMask:
    """Opacity of the person, frame by frame. Raises ValueError naming the file when it is no such model."""

    name = "selfie"

    def __init__(self, model_path: Path, num_threads: int = 1) -> None:
        try:
            self._model = LiteModel(model_path.read_bytes(), num_threads)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{model_path}: cannot load the segmenter ({' '.join(str(error).split())})") from None
        self._image = np.empty((self._model.input_height, self._model.input_width, 3), np.float32)
        """Used again for every crop: fresh memory of this size takes longer to get than to fill."""

    def person(
        self, crop: NDArray[np.uint8], landmarks_px: NDArray[np.float32], previous: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Opacity uint8 [S, S]; landmarks and the previous mask are not needed."""
        size = crop.shape[0]
        side = self._model.input_width
        shrinking = cv2.INTER_AREA if size > side else cv2.INTER_LINEAR
        np.divide(cv2.resize(crop, (side, side), interpolation=shrinking), np.float32(255), out=self._image)
        (opacity,) = self._model(self._image).values()
        # opacity is smooth: in whole steps and sampled it loses nothing
        steps = cv2.convertScaleAbs(opacity[0, :, :, 0], alpha=255.0)
        return cv2.resize(steps, (size, size), interpolation=cv2.INTER_LINEAR)
