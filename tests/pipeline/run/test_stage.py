from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.run import stage
from pipeline.run.settings import StageError, StageParams, load_params
from pipeline.run.stage import atomic_directory, require_input, stage_main


class ToyParams(StageParams):
    count: int = 1


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("toy:\n  count: 3\n")
    return tmp_path


def test_params_are_read_and_frozen(project: Path) -> None:
    params = load_params("toy", ToyParams)
    assert params.count == 3
    with pytest.raises(Exception, match="frozen"):
        params.count = 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toy:\n  cuont: 3\n", "unknown key 'toy.cuont' .known: count."),
        ("toy:\n  count: many\n", "'toy.count'"),
        ("other: {}\n", "section 'toy' is missing"),
        ("toy: [\n", "not valid YAML"),
        ("- a\n", "expected one mapping"),
    ],
)
def test_a_wrong_params_file_is_one_clear_line(
    project: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text(text)
    with pytest.raises(StageError, match=message):
        load_params("toy", ToyParams)
    assert stage_main("toy", ToyParams, lambda params: None) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_missing_params_file_names_the_remedy(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").unlink()
    assert stage_main("toy", ToyParams, lambda params: None) == 2
    assert "run from the project's root" in capsys.readouterr().err


def test_our_own_fault_is_one_line_and_a_log(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(params: ToyParams) -> None:
        raise ZeroDivisionError("boom")

    assert stage_main("toy", ToyParams, broken) == 1
    line = capsys.readouterr().err.strip()
    assert line == "toy: failed: ZeroDivisionError: boom (details: .sheap/logs/toy.log)"
    assert "in broken" in Path(".sheap/logs/toy.log").read_text()


def test_two_of_one_stage_never_run_together(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "LOCK_WAIT_S", 0.2)
    Path(".sheap/locks").mkdir(parents=True)
    ran = []
    with FileLock(".sheap/locks/toy.lock"):
        assert stage_main("toy", ToyParams, ran.append) == 2
    assert not ran and "another 'toy' stage is running" in capsys.readouterr().err
    assert stage_main("toy", ToyParams, ran.append) == 0 and len(ran) == 1


def test_a_stage_that_is_about_to_end_is_waited_for(project: Path) -> None:
    Path(".sheap/locks").mkdir(parents=True)
    lock = FileLock(".sheap/locks/toy.lock", thread_local=False)
    lock.acquire()
    release = threading.Timer(0.5, lock.release)
    release.start()
    ran = []
    assert stage_main("toy", ToyParams, ran.append) == 0 and len(ran) == 1
    release.join()


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/out.bin"), "data/out.bin"),
        (RuntimeError(f"IoError: {os.strerror(errno.ENOSPC)} (os error 28)"), None),
    ],
)
def test_a_full_disk_is_one_line_with_the_remedy(
    project: Path, error: Exception, where: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(params: ToyParams) -> None:
        raise error

    assert stage_main("toy", ToyParams, fill) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith(f"toy: error: {where or project}: no space left on device; free some and run again"), line
    assert "\n" not in line


def test_missing_input_names_the_stage_that_makes_it(project: Path) -> None:
    with pytest.raises(StageError, match="run the 'shards' stage first"):
        require_input(Path("data/shards"), "shards")


def test_a_folder_appears_only_when_complete(project: Path) -> None:
    final = project / "out"
    with atomic_directory(final) as folder:
        (folder / "a").write_text("first")
        assert not final.exists()
    with pytest.raises(RuntimeError), atomic_directory(final) as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert (final / "a").read_text() == "first"
    with atomic_directory(final) as folder:
        (folder / "b").write_text("second")
    assert [p.name for p in final.iterdir()] == ["b"]
    assert sorted(p.name for p in project.iterdir()) == ["out", "params.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_a_clear_error(project: Path) -> None:
    locked = project / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(StageError, match="cannot write here"), atomic_directory(locked / "out"):
        pass


def test_a_file_where_a_folder_should_be_is_a_clear_error(project: Path) -> None:
    (project / "data").write_text("")
    with pytest.raises(StageError, match="cannot write here"), atomic_directory(project / "data" / "out"):
        pass
