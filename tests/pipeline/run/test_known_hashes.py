"""A file is read again only when it has changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from pipeline.run import known_hashes
from pipeline.run.known_hashes import GRAIN_S, KnownHashes


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    read = known_hashes.file_sha256

    def counted(path: Path) -> str:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(known_hashes, "file_sha256", counted)
    return names


def made(path: Path, content: bytes, age_s: float = 60.0) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(time.time_ns(), time.time_ns() - int(age_s * 1e9)))
    return path


def hashed(database: Path, path: Path) -> tuple[int, str]:
    with KnownHashes(database) as hashes:
        return hashes.sha256(path)


def test_an_unchanged_file_is_read_once_and_a_changed_one_again(tmp_path: Path, reads: list[str]) -> None:
    database, path = tmp_path / "state" / "hashes.db", made(tmp_path / "a.mp4", b"one")
    for _ in range(3):
        assert hashed(database, path) == (3, hashlib.sha256(b"one").hexdigest())
    assert reads == ["a.mp4"]
    made(path, b"two", age_s=50)
    assert hashed(database, path)[1] == hashlib.sha256(b"two").hexdigest() and len(reads) == 2, "same size, another time"
    made(tmp_path / "other", b"six", age_s=50).replace(path)
    assert hashed(database, path)[1] == hashlib.sha256(b"six").hexdigest() and len(reads) == 3, "another file of that name"
    hashed(database, path)
    assert len(reads) == 3


def test_a_file_that_has_just_changed_is_read_again_next_time(tmp_path: Path, reads: list[str]) -> None:
    path = made(tmp_path / "a.mp4", b"one", age_s=GRAIN_S / 2)
    hashed(tmp_path / "hashes.db", path)
    hashed(tmp_path / "hashes.db", path)
    assert len(reads) == 2


def test_a_broken_database_is_begun_anew_and_a_missing_file_is_an_oserror(tmp_path: Path, reads: list[str]) -> None:
    database, path = tmp_path / "hashes.db", made(tmp_path / "a.mp4", b"one")
    database.write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    assert hashed(database, path)[0] == 3 and hashed(database, path)[0] == 3 and len(reads) == 1
    with pytest.raises(FileNotFoundError):
        hashed(database, tmp_path / "nowhere.mp4")
