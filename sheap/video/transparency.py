"""Pictures that are transparent in places, as a person sees them: over grey.

Under full transparency a file may hold any colours, even another person's. So they are blended before anything looks at them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GREY = 0.5
"""What lies behind, of full brightness: neither a light nor a dark picture's edges stand out."""


def opaque(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB [H, W, 3] as it is, RGBA [H, W, 4] over grey, both uint8. Raises ValueError for anything else."""
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"image: expected uint8 [H, W, 3 or 4], got {list(picture.shape)} of {picture.dtype}")
    return over_grey(picture) if picture.shape[2] == 4 else picture


def over_grey(picture: NDArray[np.unsignedinteger], *, is_weighed: bool = False) -> NDArray[np.unsignedinteger]:
    """Colours [H, W, 3] of a picture [H, W, 4] of any unsigned depth, whose last channel says how opaque each pixel is.

    is_weighed: the colours are multiplied by it already.
    """
    full = np.iinfo(picture.dtype).max
    share = picture[..., 3:].astype(np.float32) / full
    blended = picture[..., :3] * (1 if is_weighed else share) + GREY * full * (1 - share)
    return np.rint(blended).astype(picture.dtype)


def decode_opaque(encoded: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A picture file's bytes [N] as uint8 BGR [H, W, 3], upright as its orientation says, over grey where it is transparent.

    None when OpenCV cannot decode it.
    """
    colour = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if colour is None or encoded[:2].tobytes() == b"\xff\xd8":  # JPEG knows no transparency
        return colour
    raw = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 3 or raw.shape[2] != 4 or raw.dtype.kind != "u":
        return colour
    if bool((raw[..., 3] == np.iinfo(raw.dtype).max).all()):
        return colour
    scale = 255 / np.iinfo(raw.dtype).max
    seen = raw if raw.dtype == np.uint8 else np.rint(raw * scale).astype(np.uint8)
    is_tiff = encoded[:4].tobytes() in (b"II*\0", b"MM\0*")
    is_weighed = is_tiff and bool((seen[..., :3] <= seen[..., 3:]).all())  # OpenCV gives TIFF's colours times their opacity
    return _turned_as(over_grey(seen, is_weighed=is_weighed), seen[..., :3], colour)


def _turned_as(blended: NDArray[np.uint8], plain: NDArray[np.uint8], upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`blended`, turned and mirrored as `plain`, the same picture in the file's own order, is in `upright`.

    OpenCV applies a file's orientation to colours alone and says nothing of it, so the one of eight is found that fits.
    """
    best, least = (0, 1), np.inf
    for quarters in range(4):
        for step in (1, -1):
            turned = np.rot90(plain[:, ::step], quarters)
            apart = np.inf if turned.shape != upright.shape else float(np.abs(turned.astype(np.int16) - upright).mean())
            if apart < least:
                best, least = (quarters, step), apart
    quarters, step = best
    return np.ascontiguousarray(np.rot90(blended[:, ::step], quarters))
