"""How a clip's pictures, masks and landmarks become files, and back."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.data.schema import NUM_LANDMARKS

_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
"""Smooth opacity needs no row filters: as small as with them, written five times and read twice as fast (measured)."""


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG file."""
    ok, content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return content.tobytes()


def encode_png(mask: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] as a PNG file."""
    ok, content = cv2.imencode(".png", mask, _PNG_OPTIONS)
    assert ok
    return content.tobytes()


def encode_landmarks(landmarks: NDArray[np.float32]) -> bytes:
    """float32 [T, 478, 3] as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(landmarks, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def decode_image(content: bytes, where: str) -> NDArray[np.uint8]:
    """A JPEG file as uint8 RGB [H, W, 3]. Raises ValueError naming `where`."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    if image is None:
        raise ValueError(f"{where}: not a readable JPEG")
    return image


def decode_mask(content: bytes, where: str) -> NDArray[np.uint8]:
    """A PNG file as uint8 [H, W]. Raises ValueError naming `where`."""
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if mask is None:
        raise ValueError(f"{where}: not a readable PNG")
    return mask


NPY_HEADER_BYTES = 128
"""What numpy puts before the numbers of a landmarks file."""
FRAME_LANDMARKS_BYTES = NUM_LANDMARKS * 3 * 4


def decode_frame_landmarks(content: bytes, where: str) -> NDArray[np.float32]:
    """The numbers of one frame, cut out of a landmarks file, as float32 [478, 3]. Raises ValueError naming `where`."""
    if len(content) != FRAME_LANDMARKS_BYTES:
        raise ValueError(f"{where}: expected {FRAME_LANDMARKS_BYTES} bytes of landmarks, got {len(content)}")
    return np.frombuffer(content, "<f4").reshape(NUM_LANDMARKS, 3).astype(np.float32)


def decode_landmarks(content: bytes, num_frames: int, where: str) -> NDArray[np.float32]:
    """An .npy file as float32 [num_frames, 478, 3]; never unpickles. Raises ValueError naming `where`."""
    try:
        landmarks = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise ValueError(f"{where}: not a plain .npy array") from None
    if landmarks.shape != (num_frames, NUM_LANDMARKS, 3) or landmarks.dtype != np.float32:
        raise ValueError(
            f"{where}: expected float32 [{num_frames}, {NUM_LANDMARKS}, 3], "
            f"got {landmarks.dtype} {list(landmarks.shape)}"
        )
    return landmarks
