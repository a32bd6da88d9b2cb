from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest

from sheap.video.decoding import VideoProblem, VideoReader
from tests.video.made_videos import (
    corner_names,
    noise_frames,
    quadrants,
    shown_as,
    turn_in_header,
    write_audio,
    write_video,
)


def read(path, fps=1000.0, **options):
    with VideoReader(path) as video:
        frames = list(video.frames(fps, **options))
    return frames, video


def test_frames_come_upright_in_order_with_times(tmp_path):
    frames, video = read(write_video(tmp_path / "v.mp4", [quadrants()] * 5))
    assert [f.number for f in frames] == [0, 1, 2, 3, 4] and video.num_decoded == 5 and video.damage is None
    assert [f.time_s for f in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert frames[0].image.shape == (48, 64, 3) and frames[0].image.dtype == np.uint8
    assert corner_names(frames[0].image) == "RGBW"


@pytest.mark.parametrize(("quarters", "expected"), [(0, "RGBW"), (1, "BRWG"), (2, "WBGR"), (3, "GWRB")])
def test_a_telephones_rotation_is_applied(tmp_path, quarters, expected):
    path = write_video(tmp_path / "v.mp4", [quadrants()] * 2)
    turn_in_header(path, quarters)
    frames, _ = read(path)
    assert corner_names(frames[0].image) == expected
    assert frames[0].image.shape[:2] == ((48, 64) if quarters % 2 == 0 else (64, 48))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("ffv1", "yuv420p10le", "mkv"),
        ("ffv1", "yuv444p", "mkv"),
        ("ffv1", "gray", "mkv"),
        ("ffv1", "bgra", "mkv"),
        ("libx264", "yuv422p", "mp4"),
        ("mjpeg", "yuvj420p", "avi"),
    ],
)
def test_odd_pixel_formats_become_rgb(tmp_path, codec, pix_fmt, suffix):
    frames, _ = read(write_video(tmp_path / f"v.{suffix}", [quadrants()] * 2, codec=codec, pix_fmt=pix_fmt))
    assert frames[0].image.shape == (48, 64, 3)
    if pix_fmt == "gray":
        assert np.ptp(frames[0].image.astype(int), axis=2).max() <= 2
    else:
        assert corner_names(frames[0].image) == "RGBW"


def test_odd_sizes_are_read_whole(tmp_path):
    frames, _ = read(write_video(tmp_path / "v.mkv", [quadrants(51, 67)] * 2, codec="ffv1", pix_fmt="yuv444p"))
    assert frames[0].image.shape == (51, 67, 3)


def test_large_pictures_are_shrunk_and_anamorphic_ones_unsqueezed(tmp_path):
    large, _ = read(write_video(tmp_path / "large.mp4", [quadrants(240, 480)] * 2), max_side=120)
    assert large[0].image.shape == (60, 120, 3) and corner_names(large[0].image) == "RGBW"
    squeezed, _ = read(write_video(tmp_path / "squeezed.mp4", [quadrants()] * 2, aspect=Fraction(2, 1)))
    assert squeezed[0].image.shape == (48, 128, 3) and corner_names(squeezed[0].image) == "RGBW"


def test_frames_are_taken_by_time(tmp_path):
    frames, video = read(write_video(tmp_path / "v.mp4", [quadrants()] * 50), fps=5)
    assert [f.time_s for f in frames] == pytest.approx([0.2 * n for n in range(10)])
    assert video.num_decoded == 50
    all_frames, _ = read(tmp_path / "v.mp4", fps=25)
    assert len(all_frames) == 50


def test_a_variable_rate_gives_an_even_stride(tmp_path):
    times = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 51, 52, 53, 54, 55]
    frames, _ = read(write_video(tmp_path / "v.mp4", [quadrants()] * len(times), times=times), fps=5)
    assert [f.time_s for f in frames] == pytest.approx([0, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0, 2.2])


def problem_of(path):
    with pytest.raises(VideoProblem) as caught:
        read(path)
    assert "\n" not in caught.value.detail
    return caught.value.reason


def test_every_bad_file_has_its_reason(tmp_path):
    (tmp_path / "zero.mp4").write_bytes(b"")
    assert problem_of(tmp_path / "zero.mp4") == "empty_file"
    (tmp_path / "text.mp4").write_text("to be or not to be\n" * 100)
    assert problem_of(tmp_path / "text.mp4") == "unreadable"
    (tmp_path / "bytes.mkv").write_bytes(np.random.default_rng(0).bytes(50_000))
    assert problem_of(tmp_path / "bytes.mkv") == "unreadable"
    assert problem_of(tmp_path / "absent.mp4") == "unreadable"
    assert problem_of(write_audio(tmp_path / "audio.mp4")) == "no_video_stream"
    (tmp_path / "folder.mp4").mkdir()
    assert problem_of(tmp_path / "folder.mp4") == "unreadable"
    whole = write_video(tmp_path / "whole.mp4", noise_frames(20))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-2000])  # the index lies at the end
    assert problem_of(tmp_path / "cut.mp4") == "unreadable"


def test_a_file_cut_in_its_pictures_gives_those_before_the_cut(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", noise_frames(30), options={"movflags": "faststart"})
    content = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    frames, video = read(tmp_path / "cut.mp4")
    assert 5 < len(frames) < 30
    assert video.damage == f"holds {len(frames)} of the 30 frames that its header promises"
    _, undamaged = read(whole)
    assert undamaged.damage is None
    (tmp_path / "headless.mp4").write_bytes(content[: content.index(b"mdat") + 4])
    assert problem_of(tmp_path / "headless.mp4") in ("no_frames", "unreadable")


def test_damage_in_the_middle_is_survived(tmp_path):
    path = write_video(tmp_path / "v.mkv", noise_frames(30), codec="libx264")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    path.write_bytes(content)
    frames, _ = read(path)
    assert len(frames) >= 5


def test_one_frame_is_enough_to_read(tmp_path):
    frames, _ = read(write_video(tmp_path / "v.mp4", [quadrants()]))
    assert len(frames) == 1


def test_names_with_spaces_unicode_and_newlines(tmp_path):
    for name in ("a b.mp4", "gesicht ä 顔.mp4", "two\nlines.mp4", "-dash.mp4", "per%05dcent.mp4"):
        write_video(tmp_path / "plain.mp4", [quadrants()] * 2).rename(tmp_path / name)
        frames, _ = read(tmp_path / name)
        assert len(frames) == 2, name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(tmp_path):
    path = write_video(tmp_path / "v.mp4", [quadrants()] * 2)
    path.chmod(0)
    assert problem_of(path) == "unreadable"


@pytest.mark.parametrize(
    ("linear", "seen"),
    [
        ((1, 0, 0, 1), "RGBW"), ((0, 1, -1, 0), "BRWG"), ((-1, 0, 0, -1), "WBGR"), ((0, -1, 1, 0), "GWRB"),
        ((-1, 0, 0, 1), "GRWB"), ((1, 0, 0, -1), "BWRG"), ((0, 1, 1, 0), "RBGW"), ((0, -1, -1, 0), "WGBR"),
        ((0.04, 0.99, -0.99, 0.04), "BRWG"), ((-0.5, 0, 0, 0.5), "GRWB"), ((0, 0, 0, 0), "RGBW"),
    ],
)  # fmt: skip
def test_mirrored_and_transposed_videos_are_shown_as_their_header_says(tmp_path, linear, seen):
    path = write_video(tmp_path / "v.mp4", [quadrants()] * 3)
    shown_as(path, linear)
    with VideoReader(path) as video:
        image = next(iter(video.frames(25))).image
    assert corner_names(image) == seen
    assert image.shape == ((64, 48, 3) if abs(linear[1]) > abs(linear[0]) else (48, 64, 3))
