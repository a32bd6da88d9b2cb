"""Ray from places that its shell lines do not survive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run.settings import StageError
from pipeline.workers.local_ray import is_plain, start_local_ray

REPOSITORY = Path(__file__).parents[3]

PROGRAM = """
import os, sys
sys.path.insert(0, {repository!r})
from pipeline.workers.local_ray import restart_at_plain_path
restart_at_plain_path()
print(sys.executable, sys.argv[1:], os.getpid(), os.getcwd(), sep="|", flush=True)
if "ray" in sys.argv:
    from pipeline.workers.local_ray import start_local_ray
    import ray
    start_local_ray(1)
    # Ray Train, too, gives its workers an environment: they are started by a shell line
    task = ray.remote(runtime_env={{"env_vars": {{"A": "1"}}}})(lambda: sys.executable)
    print(ray.get(task.remote(), timeout=100))
    ray.shutdown()
"""


def python_in(folder: Path) -> Path:
    """This interpreter's environment, as if it lay in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "venv").symlink_to(sys.prefix, target_is_directory=True)
    return folder / "venv" / Path(sys.executable).relative_to(sys.prefix)


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    python = python_in(folder)
    program.write_text(PROGRAM.format(repository=str(REPOSITORY)))
    temporary = folder.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        [str(python), str(program), *arguments], cwd=folder, env={**os.environ, "TMPDIR": str(temporary), **environment},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a b", "a(b)", "a'b", 'a"b', "a&b", "a;b", "a$b", "äöü", "a*b"])
def test_a_program_starts_again_through_a_plain_link_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    done = run(tmp_path / name, "one", "two words")
    assert done.returncode == 0, done.stderr
    executable, arguments, _, folder = done.stdout.strip().split("|")
    assert is_plain(executable) and arguments == "['one', 'two words']" and folder == str(tmp_path / name)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_plain_path_is_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path / "plain")
    assert done.stdout.split("|")[0] == str(tmp_path / "plain/venv" / Path(sys.executable).relative_to(sys.prefix))


def test_where_no_plain_place_is_left_it_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "t m p").mkdir()
    done = run(tmp_path / "a b", TMPDIR=str(tmp_path / "t m p"))
    assert done.returncode != 0 and "set TMPDIR to another one" in done.stderr.splitlines()[-1]
    assert list((tmp_path / "t m p").iterdir()) == []


def test_ray_is_not_started_where_its_workers_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/a folder (1)/bin/python")
    with pytest.raises(StageError, match=r"/a folder \(1\)/bin/python: the path has signs .* move the checkout"):
        start_local_ray(1)


@pytest.mark.slow
def test_workers_start_from_a_folder_with_a_blank_and_without_a_home(tmp_path: Path) -> None:
    done = run(tmp_path / "a b (c)", "ray", HOME="/proc/nowhere", TMPDIR="/tmp")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "sheap-python-" in done.stdout.splitlines()[-1]
