"""dlib's face descriptor: 128 numbers that say whom a picture shows. Optional; needs the extra `recogniser`.

Source: D. E. King, dlib's `dlib_face_recognition_resnet_model_v1` (a ResNet of 29 layers, trained on about 3 million pictures of
7,485 people; the author puts it in the public domain). The file comes in the Python package `face_recognition_models` 0.3.0
(code MIT, models public domain or CC0), the program that runs it in `dlib-bin` (Boost Software License).
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHIP_SIZE = 150
"""Side (px) of the upright pictures the network was trained on."""
SAME_PERSON = 0.6
"""Descriptors nearer than this are taken for one person (dlib's own limit)."""
CHIP_LANDMARKS = (263, 362, 33, 133, 2)
"""The five points that place a chip, of MediaPipe's 478: outer, inner corner of the left eye, of the right, nose's base."""

_PADDING = 0.25
_MODEL = "models/dlib_face_recognition_resnet_model_v1.dat"
_REMEDY = "install the extra `recogniser` (pip install 'sheap[recogniser]')"


class FaceDescriptor:
    """The network, read once. Raises ImportError naming the extra when its packages are missing."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError:
            raise ImportError(f"the face descriptor needs the package `dlib-bin`; {_REMEDY}") from None
        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(_model_file()))

    def chip(self, image: NDArray[np.uint8], landmarks: NDArray) -> NDArray[np.uint8]:
        """The upright face, uint8 RGB [150, 150, 3], of a uint8 RGB picture [H, W, 3] with landmarks [478, 2 or more] px."""
        points = [self._dlib.point(*(round(float(value)) for value in landmarks[k, :2])) for k in CHIP_LANDMARKS]
        height, width = image.shape[:2]
        shape = self._dlib.full_object_detection(self._dlib.rectangle(0, 0, width - 1, height - 1), points)
        return self._dlib.get_face_chip(np.ascontiguousarray(image), shape, size=CHIP_SIZE, padding=_PADDING)

    def describe(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Descriptor [128] of a chip; two of one person lie nearer than SAME_PERSON."""
        return np.array(self._network.compute_face_descriptor(chip), np.float32)


def _model_file() -> Path:
    # The package's own code wants setuptools' pkg_resources, which is gone: its data file is all that is needed.
    try:
        files = metadata.files("face_recognition_models") or []
    except metadata.PackageNotFoundError:
        raise ImportError(f"the face descriptor needs the package `face_recognition_models`; {_REMEDY}") from None
    found = [Path(str(file.locate())) for file in files if str(file).endswith(_MODEL)]
    if not found or not found[0].is_file():
        raise ImportError(f"the package `face_recognition_models` holds no {_MODEL}; {_REMEDY}")
    return found[0]
