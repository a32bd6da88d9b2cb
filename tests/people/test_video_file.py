from __future__ import annotations

import av
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


def test_no_frames_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        write_mp4(tmp_path / "a.mp4", [], 25, 23)
