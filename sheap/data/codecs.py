"""How a clip's pictures, masks and landmarks become files, and back.

Pictures are JPEG, landmarks .npy, masks the plain bytes of their pixels in an LZ4 frame (`lz4 -d` unpacks it). Masks stay
exact. On real ones of 224 px LZ4 took a tenth of PNG's time to read and a seventh to write and 13 % more room; grey JPEG
took nine times as long to read and left errors of up to 10 of 255 in what is wholly head or wholly background.
"""

from __future__ import annotations

import io
import math

import cv2
import lz4.frame
import numpy as np
from numpy.typing import NDArray

from sheap.data.schema import NUM_LANDMARKS
from sheap.reading.arrays import parse_array


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG file."""
    ok, content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return content.tobytes()


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """uint8 [S, S] as an LZ4 file."""
    assert mask.dtype == np.uint8 and mask.ndim == 2 and mask.shape[0] == mask.shape[1]
    return lz4.frame.compress(mask.tobytes())


def encode_landmarks(landmarks: NDArray[np.float32]) -> bytes:
    """float32 [T, 478, 3] as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(landmarks, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def decode_image(content: bytes | memoryview, where: str) -> NDArray[np.uint8]:
    """A JPEG file as uint8 RGB [H, W, 3]. Raises ValueError naming `where`."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    if image is None:
        raise ValueError(f"{where}: not a readable JPEG")
    return image


def decode_mask(content: bytes | memoryview, where: str) -> NDArray[np.uint8]:
    """An LZ4 file of a square mask as uint8 [S, S]. Raises ValueError naming `where`."""
    try:
        pixels = lz4.frame.decompress(content, return_bytearray=True)  # bytes would make an array that cannot be changed
    except RuntimeError:
        raise ValueError(f"{where}: not a readable LZ4 file") from None
    side = math.isqrt(len(pixels))
    if side == 0 or side * side != len(pixels):
        raise ValueError(f"{where}: {len(pixels)} bytes are not a square mask")
    return np.frombuffer(pixels, np.uint8).reshape(side, side)


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
        landmarks = parse_array(content, where)
    except ValueError:
        raise ValueError(f"{where}: not a plain .npy array") from None
    if landmarks.shape != (num_frames, NUM_LANDMARKS, 3) or landmarks.dtype != np.float32:
        raise ValueError(
            f"{where}: expected float32 [{num_frames}, {NUM_LANDMARKS}, 3], "
            f"got {landmarks.dtype} {list(landmarks.shape)}"
        )
    return landmarks
