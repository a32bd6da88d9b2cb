from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sheap.people.video_file import write_mp4


def frames(count=5, height=64, width=80):
    y, x = np.mgrid[0:height, 0:width]
    for k in range(count):
        yield np.stack([(x + 8 * k) % 256, (2 * y) % 256, np.full_like(x, 40 * k)], -1).astype(np.uint8)


def test_an_ordinary_video_comes_back(tmp_path):
    path = tmp_path / "clip.mp4"
    assert write_mp4(path, frames(), 25, 18) == 5
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.height, stream.width) == ("h264", 64, 80)
        assert float(stream.average_rate) == 25
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 5
    error = np.abs(np.stack(decoded).astype(int) - np.stack(list(frames())))
    assert error.mean() < 12


def test_the_same_frames_make_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, frames(), 25, 23)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def moving_texture(path, height=256, width=320, count=10):
    """Soft noise that jumps about under grain: what an encoder has to decide about."""
    rng = np.random.default_rng(0)
    soft = cv2.GaussianBlur(rng.integers(0, 255, (height + 80, width + 80, 3)).astype(np.float32), None, 4)
    soft = 255 * (soft - soft.min()) / np.ptp(soft)
    moved = [soft[3 * k % 40 :, 2 * k % 60 :][:height, :width] for k in range(count)]
    noisy = [(frame + rng.normal(0, 3, frame.shape)).clip(0, 255).astype(np.uint8) for frame in moved]
    write_mp4(path, noisy, 10, 18)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="MALLOC_PERTURB_ is glibc's")
def test_what_memory_held_before_does_not_show_in_the_bytes(tmp_path):
    for name, filling in (("a.mp4", "0"), ("b.mp4", "85")):
        subprocess.run(
            [sys.executable, "-c", "import sys, test_video_file as t; t.moving_texture(sys.argv[1])", tmp_path / name],
            env=os.environ | {"MALLOC_PERTURB_": filling, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
            check=True,
        )
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_no_frames_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        write_mp4(tmp_path / "a.mp4", [], 25, 23)
