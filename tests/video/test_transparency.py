"""What is transparent is seen over grey, whatever colours lie under it, in every format and orientation."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sheap.evaluation.pictures import read_picture
from sheap.video.picture_advice import picture_advice
from sheap.video.transparency import opaque, over_grey


@pytest.fixture
def picture() -> np.ndarray:
    """[24, 40, 4] RGBA: noise, all of it opaque on the left third, half and wholly transparent on the others."""
    rgba = np.random.default_rng(0).integers(0, 256, (24, 40, 4), dtype=np.uint8)
    rgba[..., 3] = np.where(np.arange(40) < 13, 255, np.where(np.arange(40) < 26, 128, 0))
    return rgba


def expected(rgba: np.ndarray) -> np.ndarray:
    share = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * share + 127.5 * (1 - share))


def test_blending(picture: np.ndarray) -> None:
    assert np.abs(over_grey(picture) - expected(picture)).max() <= 1, "a half may be rounded either way"
    deep = over_grey(picture.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - expected(picture)).max() <= 1
    assert opaque(picture[..., :3]) is not None and opaque(picture).shape == (24, 40, 3)
    hidden = picture.copy()
    hidden[:, 26:, :3] = 0
    assert np.array_equal(opaque(hidden), opaque(picture)), "what lies under full transparency makes no difference"


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3), (4, 4, 3, 1)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image: expected uint8 \[H, W, 3 or 4\]"):
        opaque(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="of float64"):
        opaque(np.zeros((4, 4, 3)))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_files(picture: np.ndarray, tmp_path: Path, kind: str, options: dict, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(picture, "RGBA").save(path, kind, exif=exif, **options)
    upright = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    read = read_picture(path)
    assert read.shape == upright.shape
    turns = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: np.rot90(a, 2), 4: lambda a: a[::-1],
             5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
             8: lambda a: np.rot90(a, 1)}  # fmt: skip
    is_applied = not np.array_equal(upright[..., ::-1], picture[..., :3]) or orientation == 1
    wanted = turns[orientation](expected(picture)) if is_applied else expected(picture)
    assert np.abs(read - wanted).mean() < 1


def test_palettes_and_grey_with_alpha(picture: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(picture, "RGBA")
    image.convert("LA").save(tmp_path / "grey.png")
    grey = read_picture(tmp_path / "grey.png")
    assert np.abs(grey[:, 26:].astype(int) - 128).max() <= 1 and np.ptp(grey[:, :13]) > 100
    image.save(tmp_path / "a.gif")
    assert np.abs(read_picture(tmp_path / "a.gif")[:, 30:].astype(int) - 128).max() <= 1


def test_opaque_files_are_read_as_before(picture: np.ndarray, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.bmp"):
        Image.fromarray(picture[..., :3]).save(tmp_path / name)
        assert np.array_equal(read_picture(tmp_path / name), cv2.imread(str(tmp_path / name))[..., ::-1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC photo, .* convert it with: heif-convert"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "it is a HEIC photo"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "it is a video"),
        (b"%PDF-1.7", "PDF"),
        (b"\n<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"hello", "not a picture that OpenCV can read"),
    ],
)
def test_what_cannot_be_read_comes_with_a_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.heic").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.heic: .*{message}"):
        read_picture(tmp_path / "a.heic")
    assert picture_advice(io.BytesIO(content).read(64))
