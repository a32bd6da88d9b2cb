"""AVIF's own turns and mirrors, as phones and converters write them; Pillow writes the files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from sheap.evaluation.avif_orientation import orientation, upright_avif
from sheap.evaluation.pictures import read_picture
from tests.video.made_videos import corner_names, quadrants

SEEN = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}
"""By EXIF's number, which Pillow turns into irot and imir."""


def avif(number: int) -> bytes:
    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x112] = number
    Image.fromarray(quadrants(96, 128)).save(file, "avif", exif=exif, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("number", SEEN)
def test_a_picture_is_read_as_it_is_to_be_seen(tmp_path: Path, number: int) -> None:
    path = tmp_path / "p.avif"
    path.write_bytes(avif(number))
    picture = read_picture(path)
    assert corner_names(picture) == SEEN[number]
    assert picture.shape == ((128, 96, 3) if number > 4 else (96, 128, 3))


def test_other_and_cut_files_are_left_alone() -> None:
    content, picture = avif(6), quadrants()
    assert orientation(content) == [(b"irot", 3)]
    for other in (b"", b"\xff\xd8\xff", content[:4], content[:40], content[:200], content[:20] + b"\0" * 200):
        assert orientation(other) == []
        np.testing.assert_array_equal(upright_avif(other, picture), picture)
