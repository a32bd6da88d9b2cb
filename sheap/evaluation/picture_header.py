"""How large a picture is, by its first bytes: asked before decoding, which would take the memory that a header promises."""

from __future__ import annotations

import re
import struct

MAX_PIXELS = 2**28
"""More than any camera has (200 million); decoded, they take 0.8 GB."""

_PNM = re.compile(rb"P(?:[1-6Ff]|7)(?:\s|#[^\n]*\n)")
_PNM_SIZE = re.compile(rb"P[1-6Ff](?:\s+|#[^\n]*\n)*(\d+)(?:\s+|#[^\n]*\n)+(\d+)")
_PAM_WIDTH, _PAM_HEIGHT = re.compile(rb"\nWIDTH\s+(\d+)"), re.compile(rb"\nHEIGHT\s+(\d+)")
_RADIANCE_SIZE = re.compile(rb"\n[-+]([XY]) (\d+) [-+][XY] (\d+)\n")
_START = 4096
"""Bytes in which text headers end."""


def check_size(content: bytes) -> None:
    """Raises ValueError with the limit and the remedy for a picture of more than MAX_PIXELS."""
    size = picture_size(content)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        width, height = size
        raise ValueError(
            f"a picture of {width} x {height}, too large to decode (at most {MAX_PIXELS / 1e6:.0f} million pixels); "
            "scale it down or cut the face out"
        )


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height that the header claims, for every format that OpenCV reads; None where it is none of them, or is cut."""
    try:
        return next((size for size in (read(content) for read in _READERS) if size is not None), None)
    except (struct.error, IndexError):
        return None


def _png(content: bytes) -> tuple[int, int] | None:
    return _at(content, ">II", 16) if content.startswith(b"\x89PNG\r\n\x1a\n") else None


def _jpeg(content: bytes) -> tuple[int, int] | None:
    """The first frame header; what lies inside other segments (thumbnails) is passed over."""
    if not content.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 9 <= len(content):
        if content[place] != 0xFF:
            place += 1
            continue
        marker = content[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = _at(content, ">HH", place + 5)
            return width, height
        is_alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        place += 1 if marker == 0xFF else 2 if is_alone else 2 + _at(content, ">HH", place + 2)[0]
    return None


def _gif(content: bytes) -> tuple[int, int] | None:
    return _at(content, "<HH", 6) if content.startswith((b"GIF87a", b"GIF89a")) else None


def _bmp(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(b"BM"):
        return None
    width, height = _at(content, "<HH" if content[14] == 12 else "<ii", 18)
    return abs(width), abs(height)


def _webp(content: bytes) -> tuple[int, int] | None:
    if not (content.startswith(b"RIFF") and content[8:12] == b"WEBP"):
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = _at(content, "<HH", 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(content: bytes) -> tuple[int, int] | None:
    """The first directory's tags 256 and 257; BigTIFF has longer fields."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 8:
        return None
    version = struct.unpack_from(f"{order}H", content, 2)[0]
    if version not in (42, 43):
        return None
    offset, count, entry = ("I", "H", 12) if version == 42 else ("Q", "Q", 20)
    (place,) = struct.unpack_from(order + offset, content, 4 if version == 42 else 8)
    (entries,) = struct.unpack_from(order + count, content, place)
    place += struct.calcsize(order + count)
    found: dict[int, int] = {}
    for start in range(place, place + entry * min(entries, 4096), entry):
        tag, kind = struct.unpack_from(f"{order}HH", content, start)
        if tag in (256, 257):
            value = {3: "H", 4: "I", 16: "Q"}.get(kind, "I")
            (found[tag],) = struct.unpack_from(order + value, content, start + entry - struct.calcsize(f"={offset}"))
    return (found[256], found[257]) if len(found) == 2 else None


def _jpeg2000(content: bytes) -> tuple[int, int] | None:
    """The larger of what the box and the code stream say: decoders trust the second."""
    found = []
    stream = content.find(b"\xff\x4f\xff\x51")
    if not (stream == 0 or content[4:8] == b"jP  "):
        return None
    if stream >= 0:
        right, bottom, left, top = struct.unpack_from(">IIII", content, stream + 8)
        found.append((right - left, bottom - top))
    if (box := content.find(b"ihdr")) >= 0:
        height, width = _at(content, ">II", box + 4)
        found.append((width, height))
    return max(found, key=lambda size: size[0] * size[1], default=None)


def _avif(content: bytes) -> tuple[int, int] | None:
    """The largest of the sizes that its items have (tiles, thumbnails, the whole)."""
    if content[4:8] != b"ftyp":
        return None
    sizes = [_at(content, ">II", found.end() + 4) for found in re.finditer(b"ispe", content)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _pnm(content: bytes) -> tuple[int, int] | None:
    if not _PNM.match(content):
        return None
    start = content[:_START]
    if start.startswith(b"P7"):
        width, height = _PAM_WIDTH.search(start), _PAM_HEIGHT.search(start)
        return (int(width[1]), int(height[1])) if width and height else None
    found = _PNM_SIZE.match(start)
    return (int(found[1]), int(found[2])) if found else None


def _radiance(content: bytes) -> tuple[int, int] | None:
    found = _RADIANCE_SIZE.search(content[:_START]) if content.startswith(b"#?") else None
    if found is None:
        return None
    sides = int(found[2]), int(found[3])
    return sides if found[1] == b"X" else sides[::-1]


def _sun(content: bytes) -> tuple[int, int] | None:
    return _at(content, ">II", 4) if content.startswith(b"\x59\xa6\x6a\x95") else None


def _at(content: bytes, layout: str, place: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, content, place)
    return first, second


_READERS = (_png, _jpeg, _gif, _bmp, _webp, _tiff, _jpeg2000, _avif, _pnm, _radiance, _sun)
