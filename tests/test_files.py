"""The one writer: whole or absent, and an error names the file and what is missing."""

from __future__ import annotations

import ast
import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap import files
from sheap.files import NotWritten, require_writable, whole_file, write_bytes, write_json, write_picture, write_text

ROOT = Path(__file__).parents[1]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_text(tmp_path / "new/folder/a.txt", "Grüße\n")
    assert (tmp_path / "new/folder/a.txt").read_text(encoding="utf-8") == "Grüße\n"
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_picture(tmp_path / "p.png", picture)
    assert np.array_equal(cv2.imread(str(tmp_path / "p.png"))[..., ::-1], picture)
    assert left_in(tmp_path) == ["new", "p.png"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyError), whole_file(tmp_path / "a.txt") as file:
        file.write(b"half of the ne")
        raise KeyError("stopped")
    assert (tmp_path / "a.txt").read_text() == "old" and left_in(tmp_path) == ["a.txt"]


def test_nothing_stands_under_the_name_before_it_is_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.txt") as file:
        file.write(b"half")
        file.flush()
        assert not (tmp_path / "a.txt").exists()


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(NotWritten, match=r"a\.png: not written: a folder has this name"):
        write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(NotWritten, match="a folder has this name"):
        require_writable(tmp_path / "a.png")
    assert left_in(tmp_path) == ["a.png"]


def test_a_file_in_a_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(NotWritten, match=r"should be a folder above it is a file \(.*/a\)"):
        write_text(tmp_path / "a/b/c.txt", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_missing_permission_names_the_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NotWritten, match=f"no permission to write in {tmp_path}"):
            write_text(tmp_path / "a.txt", "")
    finally:
        tmp_path.chmod(0o700)


def test_names_that_are_too_long_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(NotWritten, match="the name is too long"):
        write_text(tmp_path / ("x" * 300), "")
    assert left_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_is_said_in_words() -> None:
    with pytest.raises(NotWritten, match="/dev/full: not written: no space left on the disk") as raised:
        write_text("/dev/full", "x" * 100_000)
    assert raised.value.errno == errno.ENOSPC and "Errno" not in str(raised.value)


@pytest.mark.parametrize("write", ["files.write_bytes(path, bytes(10**6))", "files.write_arrays(path, {'a': noise})"])
def test_a_write_that_ends_early_leaves_no_file(tmp_path: Path, write: str) -> None:
    """RLIMIT_FSIZE: the kernel ends a write in its middle, as a full disk does."""
    program = (
        "import resource, signal, sys\nimport numpy as np\nfrom pathlib import Path\nfrom sheap import files\n"
        "noise = np.random.default_rng(0).random(10**5)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"path = Path(sys.argv[1])\ntry:\n    {write}\nexcept files.NotWritten as error:\n    print(error)\n"
    )
    (tmp_path / "a").write_text("old")
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "larger than this system lets a file be" in done.stdout and str(tmp_path / "a") in done.stdout
    assert (tmp_path / "a").read_text() == "old" and left_in(tmp_path) == ["a"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


def test_an_error_in_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), whole_file(tmp_path / "a"):
        (tmp_path / "absent").read_bytes()
    assert left_in(tmp_path) == []


def test_links_devices_modes_and_the_umask(tmp_path: Path) -> None:
    write_text("/dev/null", "gone")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "through")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "through"
    (tmp_path / "real").chmod(0o640)
    write_text(tmp_path / "real", "again")
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    reader, writer = os.pipe()
    write_json(f"/dev/fd/{writer}", {"a": 1})
    os.close(writer)
    assert os.read(reader, 100) == b'{\n "a": 1\n}\n'
    os.close(reader)


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    write_picture(path, np.zeros((4, 4, 3), np.uint8))
    assert path.stat().st_size > 0


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.xyz: cannot be written as a picture"):
        write_picture(tmp_path / "a.xyz", np.zeros((4, 4, 3), np.uint8))


WRITES = {"write_text", "write_bytes", "imwrite", "save_file", "savefig", "to_csv"}
SAVES = {("np", "save"), ("np", "savez"), ("np", "savez_compressed"), ("np", "savetxt"), ("torch", "save")}
STREAMS = {"buffer", "file", "stream", "temporary"}
OTHERS = {
    "sheap/files.py": "the writer itself",
    "sheap/data/remote.py": "a cache: what has not the promised hash never gets its name",
    "pipeline/run/stage.py": "the log of a failure, beside the failure's own line",
}


def own_writes(tree: ast.AST) -> list[int]:
    """Lines that write a file by themselves."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        of = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
        to_stream = any(isinstance(arg, ast.Name) and arg.id in STREAMS for arg in node.args)
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        of_writer = isinstance(called, ast.Name)  # this module's write_text, write_bytes
        is_write = name in WRITES and not (of_writer and name in ("write_text", "write_bytes")) and not to_stream
        is_save = (of, name) in SAVES and not to_stream
        writes = any(set(mode) <= set("wbx+t") and "w" in mode for mode in modes)
        is_open = name == "open" and writes and of not in ("tarfile", "av", *STREAMS)
        if is_write or is_save or is_open:
            lines.append(node.lineno)
    return lines


def test_nothing_else_writes_files() -> None:
    """Cut files under final names come from the one place that forgot the writer."""
    found = []
    for folder in ("sheap", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name not in OTHERS:
                found += [f"{name}:{line}" for line in own_writes(ast.parse(path.read_text(encoding="utf-8")))]
    assert not found
    assert own_writes(ast.parse("path.write_text('')\nnp.save(path, a)\nopen(path, 'w')\ncv2.imwrite(p, i)")) == [1, 2, 3, 4]
    assert files.TEMPORARY_SUFFIX == ".part"
