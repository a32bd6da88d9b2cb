"""One function reads pictures: headers before pixels, one line for what is none; one writes them, whatever they are called."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap.evaluation import picture_header
from sheap.evaluation.picture_header import picture_size
from sheap.evaluation.pictures import read_picture
from sheap.files import write_picture

FAULTS = Path(__file__).resolve().parents[2].parent / "shared" / "faults"
ENDINGS = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif", ".jp2", ".avif", ".ppm", ".pgm", ".hdr", ".pfm", ".ras")


def encoded(ending: str, height: int = 64, width: int = 96) -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    if ending in (".hdr", ".pfm"):
        picture = picture.astype(np.float32) / 255
    if ending == ".pgm":
        picture = picture[..., 0]
    is_encoded, content = cv2.imencode(ending, picture)
    assert is_encoded
    return content.tobytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_formats_header_tells_the_size(ending: str) -> None:
    assert picture_size(encoded(ending)) == (96, 64)


@pytest.mark.parametrize("ending", ENDINGS)
def test_too_large_is_told_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(encoded(ending))
    assert read_picture(tmp_path / f"a{ending}").shape == (64, 96, 3)
    monkeypatch.setattr(picture_header, "MAX_PIXELS", 96 * 64 - 1)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=rf"a\{ending}: a picture of 96 x 64, too large to decode .*scale it down"):
        read_picture(tmp_path / f"a{ending}")


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


HEADERS = {
    "png": png_header(30000, 30000),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x04\x00\x00\xff\xc2\x00\x11\x08" + struct.pack(">HH", 60000, 65000) + bytes(12),
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 70000, -70000) + bytes(28),
    "gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20),
    "webp": b"RIFF\x20\0\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff\xff\xff\xff",
    "tiff": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 256, 4, 1, 99999) + struct.pack("<HHII", 257, 4, 1, 99999) + bytes(4),
    "big tiff": b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 2) + struct.pack(">HHQQ", 256, 16, 1, 99999)
    + struct.pack(">HHQHHHH", 257, 3, 1, 65000, 0, 0, 0) + bytes(8),
    "jpeg 2000": b"\xff\x4f\xff\x51\0\x29\0\0" + struct.pack(">IIII", 99999, 99999, 0, 0) + bytes(30),
    "avif": b"\0\0\0\x18ftypavif" + bytes(8) + b"ispe\0\0\0\0" + struct.pack(">II", 99999, 99999),
    "ppm": b"P6\n# a comment\n99999 99999\n255\n",
    "pam": b"P7\nWIDTH 99999\nHEIGHT 99999\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
    "radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 99999 +X 99999\n",
    "sun": b"\x59\xa6\x6a\x95" + struct.pack(">II", 99999, 99999) + bytes(20),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_promise_gigabytes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.png").write_bytes(HEADERS[kind])
    with pytest.raises(ValueError, match=r"a\.png: a picture of \d+ x \d+, too large to decode \(at most 268 million pixels\)"):
        read_picture(tmp_path / "a.png")


NO_PICTURES = [b"", b"\xff\xd8", b"BM", b"II*\0", b"no picture", png_header(2_000_000, 1), png_header(0, 5)]


@pytest.mark.parametrize("content", NO_PICTURES)
def test_what_is_no_picture_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png: (not a picture|it is a TIFF)") as caught:
        read_picture(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: a named pipe"):
        read_picture(tmp_path / "a.png")


def test_names_that_are_not_utf8_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"m\xfcller.png")
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    write_picture(path, picture)
    np.testing.assert_array_equal(read_picture(path), picture)


@pytest.mark.skipif(not FAULTS.is_dir(), reason=f"{FAULTS} is absent")
def test_the_collected_fault() -> None:
    with pytest.raises(ValueError, match=r"huge_40000x40000\.png: a picture of 40000 x 40000, .*scale it down"):
        read_picture(FAULTS / "huge_40000x40000.png")
