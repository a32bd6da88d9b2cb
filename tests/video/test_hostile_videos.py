"""Videos that mislead FFmpeg: names that are addresses, files that name others, codecs unknown, and files that never end."""

from __future__ import annotations

import os
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from pipeline.corpus import CorpusBuilder, VideoFacts, folder_files, name_problem
from pipeline.run.known_hashes import KnownHashes
from sheap.video import decoding
from sheap.video.decoding import VideoProblem, VideoReader
from tests.video.made_videos import corner_names, quadrants, write_video, write_with_cover


def read(path: Path):
    with VideoReader(path) as video:
        frames = list(video.frames(1000.0))
    return frames, video


def problem_of(path: Path) -> VideoProblem:
    with pytest.raises(VideoProblem) as caught:
        read(path)
    assert "\n" not in caught.value.detail
    return caught.value


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video with five pictures in the current folder, under a name that others refer to."""
    monkeypatch.chdir(tmp_path)
    return write_video(Path("plain.mp4"), [quadrants()] * 5)


NAMES = [
    *("a:b.mp4", "http:x.mp4", "concat:plain.mp4", "file:plain.mp4", "pipe:0.mp4", "data:plain.mp4", "crypto:plain.mp4"),
    *("subfile,,start,0:plain.mp4", "frame%05d.mp4", "rtmp::x.mov", "async:plain.mp4", "cache:plain.mp4"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_and_no_address(plain: Path, name: str) -> None:
    write_video(Path("other.mp4"), [quadrants(64, 96)] * 2).rename(name)
    frames, _ = read(Path(name))
    assert len(frames) == 2 and frames[0].image.shape == (64, 96, 3)


def test_a_name_that_is_not_utf8_is_read(plain: Path) -> None:
    path = Path(os.fsdecode(b"m\xfcller.mp4"))
    plain.rename(path)
    assert len(read(path)[0]) == 5


PLAYLISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nplain.mp4\n#EXT-X-ENDLIST\n",
    "hls.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:plain.mp4\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile plain.mp4\n",
    "concat.mkv": "\ufeffffconcat version 1.0\nfile 'plain.mp4'\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="0" mimeType="video/mp4"><BaseURL>plain.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_are_refused_and_open_nothing(plain: Path, name: str) -> None:
    Path(name).write_text(PLAYLISTS[name])
    problem = problem_of(Path(name))
    assert problem.reason == "unreadable" and "playlist" in problem.detail


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "mov"])
def test_a_cover_picture_is_not_the_video(tmp_path: Path, ending: str, flagged: bool) -> None:
    path = write_with_cover(tmp_path / f"v.{ending}", np.full((160, 160, 3), 200, np.uint8), [quadrants()] * 5, flagged=flagged)
    frames, _ = read(path)
    assert len(frames) == 5 and frames[0].image.shape == (48, 64, 3) and corner_names(frames[0].image) == "RGBW"


@pytest.mark.parametrize(
    ("name", "codec", "old", "new", "reason"),
    [
        ("v.mkv", "ffv1", b"V_FFV1", b"V_QQQ1", "unknown_codec"),
        ("v.avi", "mpeg4", b"FMP4", b"QQQQ", "unknown_codec"),
        ("v.mp4", "libx264", b"avc1", b"QQQQ", "unknown_codec"),
        ("v.mp4", "libx264", b"avc1", b"encv", "unknown_codec"),
        ("v.mp4", "mpeg4", b"mp4v", b"encv", "encrypted"),
        ("v.mov", "mpeg4", b"mp4v", b"drmi", "encrypted"),
    ],
)
def test_codecs_without_a_decoder_are_named(tmp_path: Path, name: str, codec: str, old: bytes, new: bytes, reason: str) -> None:
    pix_fmt = "yuv444p" if codec == "ffv1" else "yuv420p"
    path = write_video(tmp_path / name, [quadrants()] * 5, codec=codec, pix_fmt=pix_fmt)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new).replace(old.lower(), new))
    problem = problem_of(path)
    assert problem.reason == reason and "encrypted" in problem.detail


PYAV_ERRORS = sorted(
    {kind for kind in vars(av.error).values() if isinstance(kind, type) and issubclass(kind, av.error.FFmpegError)},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", PYAV_ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ["open", "convert"])
def test_whatever_pyav_raises_is_a_problem_of_the_file(tmp_path: Path, monkeypatch, kind: type[Exception], place: str) -> None:
    path = write_video(tmp_path / "v.mp4", [quadrants()] * 2)

    def fail(*_, **__) -> None:
        raise kind(-1, "made by the test")

    if place == "open":
        monkeypatch.setattr(decoding.av, "open", fail)
    else:
        monkeypatch.setattr(VideoReader, "_to_rgb", fail)
    problem = problem_of(path)
    assert problem.reason == ("unreadable" if place == "open" else "no_frames") and "made by the test" in problem.detail


def test_pipes_and_devices_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mkv").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "zero.mkv"):
        assert problem_of(tmp_path / name).reason == "not_a_file"
    with KnownHashes(tmp_path.with_name("hashes.db")) as hashes:
        builder = CorpusBuilder(hashes)
        for path, name in folder_files(tmp_path):
            problem = name_problem(path)
            assert problem is not None and problem[0] == "not_a_file", name
            builder.skip(name, *problem)
        (tmp_path / "gone.mp4").symlink_to(tmp_path / "absent.mp4")
        assert name_problem(tmp_path / "gone.mp4") is None
        builder.take(tmp_path / "gone.mp4", "gone.mp4", VideoFacts(), VideoFacts())
        assert builder.finish().skipped_counts == {"not_a_file": 2, "unreadable": 1}


def test_pictures_larger_than_their_container_says_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "v.mkv", [quadrants(96, 128)] * 3, codec="libx264")
    content = path.read_bytes()
    # Matroska's PixelWidth and PixelHeight: ids B0 and BA, one byte each
    small = content.replace(b"\xb0\x81\x80", b"\xb0\x81\x40").replace(b"\xba\x81\x60", b"\xba\x81\x30")
    assert small != content
    path.write_bytes(small)
    assert len(read(path)[0]) == 3
    monkeypatch.setattr(decoding, "MAX_PIXELS", 64 * 48)
    assert problem_of(path).reason in ("too_large", "no_frames")
