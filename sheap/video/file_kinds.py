"""Is it a picture or a video? By what the file holds; by its name only where its first bytes say nothing."""

from __future__ import annotations

from sheap.video.file_names import PICTURE_SUFFIXES
from sheap.video.picture_advice import HEIF_BRANDS

_PICTURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"#?RADIANCE", b"\x59\xa6\x6a\x95",
)  # fmt: skip
_VIDEOS = (b"\x1a\x45\xdf\xa3", b"FLV", b"OggS", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip")


def is_picture(start: bytes, suffix: str) -> bool:
    """Whether a file that starts so (64 bytes are enough) and whose name ends in `suffix` is to be read as one picture, and not
    as a video. An animated GIF counts as a picture."""
    if start.startswith(_PICTURES) or (start.startswith(b"RIFF") and start[8:12] == b"WEBP"):
        return True
    if start[4:8] == b"ftyp":
        return start[8:12] in (*HEIF_BRANDS, b"avif", b"avis")
    if start.startswith(_VIDEOS) or start[4:8] in _QUICKTIME or (start.startswith(b"RIFF") and start[8:12] == b"AVI "):
        return False
    return suffix.lower() in PICTURE_SUFFIXES
