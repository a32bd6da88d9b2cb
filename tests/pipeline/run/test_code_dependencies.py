"""Which files decide a result, on a small project whose answer is known, and facts about ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.run import code_dependencies
from pipeline.run.code_dependencies import code_files, code_hash, modules_behind, whole_folders

FILES = {
    "toy/__init__.py": "VERSION = 1\n",
    "toy/program.py": (
        "from toy.run import start\nfrom toy.tools import plain\ndef late():\n    import toy.late, toy.late_tools.table\n"
    ),
    "toy/late.py": "TABLE = 'table.csv'\n",
    "toy/table.csv": "1,2\n",
    "toy/unused.csv": "3\n",
    "toy/stranger.py": "",
    "toy/run/__init__.py": "",
    "toy/late_tools/__init__.py": "",
    "toy/late_tools/table.py": "ROWS = 2\n",
    "toy/run/start.py": "import toy.tools.through_run\n",
    "toy/tools/__init__.py": "from toy.tools import on_the_way\n",
    "toy/tools/plain.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.stranger\n"
        "SHEETS = Path(__file__).with_name('sheets')\n"
    ),
    "toy/tools/on_the_way.py": "X = 1\n",
    "toy/tools/through_run.py": "Y = 1\n",
    "toy/tools/sheets/page.html": "<p>",
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, value in {"ROOT": tmp_path, "PACKAGES": ("toy",), "RUNNING": ("toy.run",)}.items():
        monkeypatch.setattr(code_dependencies, name, value)
    code_dependencies._import_graph.cache_clear()
    yield tmp_path
    code_dependencies._import_graph.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "toy"]:
        del sys.modules[name]


def test_late_imports_packages_on_the_way_and_named_data_count(toy: Path) -> None:
    assert [path.as_posix() for path in code_files("toy.program")] == [
        "toy/late.py",
        "toy/late_tools/table.py",
        "toy/program.py",
        "toy/table.csv",
        "toy/tools/__init__.py",
        "toy/tools/on_the_way.py",
        "toy/tools/plain.py",
        "toy/tools/sheets/page.html",
        "toy/tools/through_run.py",
    ]


def test_a_folder_stands_for_its_files_where_all_are_needed(toy: Path) -> None:
    (toy / "toy/tools/__pycache__").mkdir()
    (toy / "toy/tools/__pycache__/plain.pyc").write_bytes(b"")
    short = [path.as_posix() for path in whole_folders(code_files("toy.program"))]
    assert short == ["toy/late.py", "toy/late_tools", "toy/program.py", "toy/table.csv", "toy/tools"]
    (toy / "toy/tools/new.py").write_text("Z = 1\n")
    assert "toy/tools" not in [path.as_posix() for path in whole_folders(code_files("toy.program"))]


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("toy/late.py", True),
        ("toy/table.csv", True),
        ("toy/tools/sheets/page.html", True),
        ("toy/run/start.py", False),
        ("toy/stranger.py", False),
        ("toy/unused.csv", False),
        ("toy/__init__.py", False),
    ],
)
def test_the_hash_follows_what_decides_and_nothing_else(toy: Path, name: str, decides: bool) -> None:
    before = code_hash("toy.program")
    (toy / name).write_text((toy / name).read_text() + "# changed\n")
    assert (code_hash("toy.program") != before) == decides


def test_an_unknown_program_is_an_error(toy: Path) -> None:
    with pytest.raises(ValueError, match=r"toy\.absent"):
        modules_behind("toy.absent")


def test_a_training_run_is_of_its_method_and_of_no_recipe() -> None:
    behind = modules_behind("pipeline.train")
    assert {"sheap.precision", "sheap.losses.landmarks", "sheap.render.splat_cpu", "sheap.bundle"} <= behind
    assert not {name for name in behind if name.startswith(("sheap.head.recipe", "sheap.people", "pipeline.run"))}


def test_nobody_imports_names_whose_module_the_graph_cannot_see() -> None:
    """sheap.data loads its modules by name when a user asks for them; whoever is inside names the module."""
    assert code_dependencies._import_graph().find_modules_that_directly_import("sheap.data") == set()
