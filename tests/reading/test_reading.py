"""Files that people bring: encodings of editors, arrays that claim more than they hold, what is no regular file."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sheap.reading.arrays import parse_array, read_array
from sheap.reading.regular_file import read_bytes
from sheap.reading.text import read_lines, read_text

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_read_as_editors_save_it(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "list.txt").write_bytes(f"anna/eins.jpg{end}{end}  bär/zwei.jpg {end}".encode(encoding))
    assert list(read_lines(tmp_path / "list.txt")) == [(1, "anna/eins.jpg"), (3, "bär/zwei.jpg")]


def test_a_marked_big_endian_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xfe\xff" + "ä\n".encode("utf-16-be"))
    assert read_text(tmp_path / "a.txt") == "ä\n"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac-roman"])
def test_other_alphabets_are_refused_by_file_line_and_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("one\nzwei\nbär\n".encode(encoding))
    with pytest.raises(ValueError, match=r"a\.txt line 3: not UTF-8 \(byte 0x.*save it as UTF-8"):
        read_text(tmp_path / "a.txt")


def test_half_a_character_at_the_end_and_nul_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.txt").write_bytes("one\ntwo\n".encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"cut\.txt line 2: not UTF-16"):
        read_text(tmp_path / "cut.txt")
    (tmp_path / "zeros.txt").write_bytes(b"one\n" + bytes(40))
    with pytest.raises(ValueError, match=r"zeros\.txt line 2: not text \(a NUL byte\)"):
        read_text(tmp_path / "zeros.txt")


def test_lines_end_where_editors_end_them_alone(tmp_path: Path) -> None:
    """Names may hold what Python also calls a line's end."""
    (tmp_path / "list.txt").write_text("a\u2028b/c\x0bd.jpg\n", encoding="utf-8")
    assert list(read_lines(tmp_path / "list.txt")) == [(1, "a\u2028b/c\x0bd.jpg")]


def claiming(shape: str, version: bytes = b"\x01\x00", descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header


@pytest.mark.parametrize("shape", ["(3000000000, 7)", "(10**9,)".replace("10**9", str(10**30)), "(7, 4)", "(-1, 3)"])
@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_arrays_that_claim_more_than_they_hold_allocate_nothing(tmp_path: Path, shape: str, version: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(claiming(shape, version) + bytes(168))
    with pytest.raises(ValueError, match=r"a\.npy: the header claims .* 168 follow"):
        read_array(tmp_path / "a.npy")


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3), b=np.ones(2))
    return buffer.getvalue()


def empty_zip() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(), "an .npz"),
        (empty_zip(), "not an .npy file"),
        (b"", "empty"),
        (b"1 2 3\n", "not an .npy file"),
        (b"\x93NUMPY", "not a readable .npy header"),
        (b"\x93NUMPY\x01\x00\xff\xff{'descr'", "not a readable .npy header"),
        (claiming("(1,)", descr="'|O'") + b"x" * 99, "holds pickled objects"),
        (claiming("(1,)", descr="'<q99'"), "not a readable .npy header"),
        (claiming("'seven'"), "not a readable .npy header"),
        (claiming(f"(0, {10**30})"), "not a readable .npy file"),
        (b"\x93NUMPY\x09\x00\x05\x00{'a':", "not a readable .npy header"),
    ],
)
def test_what_is_no_array_is_named_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"^here: {message}") as caught:
        parse_array(content, "here")
    assert "\n" not in str(caught.value)


def test_sound_arrays_are_read_whatever_their_order(tmp_path: Path) -> None:
    for array in (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array("0.5"), np.zeros((0, 3))):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)


def test_pipes_devices_and_sockets_are_refused_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: a named pipe, not a file"):
        read_bytes(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(ValueError, match="link: a named pipe"):
        read_text(tmp_path / "link")
    with pytest.raises(ValueError, match="/dev/zero: a device"):
        read_array(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(ValueError, match="socket: a socket"):
            read_bytes(tmp_path / "socket")
