"""How an AVIF file says that its picture is to be turned: OpenCV decodes the pixels as they are stored.

Source: ISO/IEC 23008-12:2022, 6.5.10 (irot: quarter turns counter-clockwise) and 6.5.12 (imir: axis 0 exchanges top and bottom,
1 left and right). They are applied in the order in which they are associated with the primary item (ISO/IEC 14496-12, ipma).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_BRANDS = (b"avif", b"avis", b"mif1", b"MA1A", b"MA1B")


def upright_avif(content: bytes, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture [H, W, ...] that was decoded from these bytes, turned and mirrored as the file asks; others are as they were."""
    for kind, value in orientation(content):
        picture = np.rot90(picture, value) if kind == b"irot" else picture[:, ::-1] if value else picture[::-1]
    return np.ascontiguousarray(picture)


def orientation(content: bytes) -> list[tuple[bytes, int]]:
    """(irot, quarters counter-clockwise) and (imir, axis) of an AVIF file's primary item, in order; empty for other files."""
    if content[4:8] != b"ftyp" or content[8:12] not in _BRANDS:
        return []
    try:
        meta = _child(content, b"meta")[4:]
        item = _primary_item(_child(meta, b"pitm"))
        properties = _child(meta, b"iprp")
        boxes = list(_boxes(_child(properties, b"ipco")))
        chosen = [boxes[index - 1] for index in _associated(_child(properties, b"ipma"), item) if 0 < index <= len(boxes)]
        return [(kind, body[0] & (3 if kind == b"irot" else 1)) for kind, body in chosen if kind in (b"irot", b"imir")]
    except (LookupError, ValueError):  # cut short or put together otherwise: the decoder says whether it is a picture
        return []


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each box."""
    at = 0
    while at + 8 <= len(content):
        size, head = int.from_bytes(content[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = len(content) - at
        if size < head:
            raise ValueError("a box that is smaller than its header")
        yield content[at + 4 : at + 8], content[at + head : at + size]
        at += size


def _child(content: bytes, kind: bytes) -> bytes:
    for found, body in _boxes(content):
        if found == kind:
            return body
    raise LookupError(kind)


def _primary_item(pitm: bytes) -> int:
    return int.from_bytes(pitm[4:6] if pitm[0] == 0 else pitm[4:8], "big")


def _associated(ipma: bytes, item: int) -> list[int]:
    """Places, from 1, of an item's properties."""
    id_size, index_size = (2 if ipma[0] == 0 else 4), (2 if ipma[3] & 1 else 1)
    at = 8
    for _ in range(int.from_bytes(ipma[4:8], "big")):
        this = int.from_bytes(ipma[at : at + id_size], "big")
        at += id_size
        count = ipma[at]
        at += 1
        # the highest bit says that a reader must know the property
        mask = (1 << (8 * index_size - 1)) - 1
        indices = [int.from_bytes(ipma[at + k * index_size : at + (k + 1) * index_size], "big") & mask for k in range(count)]
        at += count * index_size
        if this == item:
            return indices
    return []
