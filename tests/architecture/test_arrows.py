"""The library stays a library: it loads no orchestrator, reads no environment, parses no arguments."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
ORCHESTRATORS = ("prefect", "ray", "dvc", "wandb")
PARSERS = ("argparse", "click", "typer")

LOAD_EVERYTHING = """
import importlib, json, pkgutil, sys
import sheap
for module in pkgutil.walk_packages(sheap.__path__, "sheap."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def loaded_packages(program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_every_module_of_the_library_loads_no_orchestrator() -> None:
    loaded = loaded_packages(LOAD_EVERYTHING)
    assert {"torch", "sheap"} <= loaded, "the library itself was not loaded"
    assert not loaded & set(ORCHESTRATORS)


def test_importing_sheap_alone_is_light() -> None:
    loaded = loaded_packages("import sheap, sys, json; print(json.dumps([n.split('.')[0] for n in sys.modules]))")
    assert not loaded & {*ORCHESTRATORS, "torch"}


def test_the_flow_loads_neither_torch_nor_the_library() -> None:
    program = "import flows.train_sheap, flows.demo, sys, json; print(json.dumps([n for n in sys.modules]))"
    loaded = loaded_packages(program)
    assert not {"torch", "sheap"} & {name.split(".")[0] for name in loaded}


def test_the_library_reads_no_environment_and_parses_no_arguments() -> None:
    problems = []
    for path in sorted((ROOT / "sheap").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # Switching a library's call home off (`os.environ.setdefault(...)` as a statement) is no reading.
        written = {
            id(node.value.func.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
            and node.value.func.attr == "setdefault"
        }
        for node in ast.walk(tree):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            is_reading = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "argv")
            if is_reading and id(node) not in written:
                problems.append(f"{where}: {node.attr}")
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
                problems += [f"{where}: {name}" for name in names if name.split(".")[0] in PARSERS]
    assert problems == []


def test_the_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken" in done.stdout and " 0 broken" in done.stdout


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count; those for type checkers alone do not."""
    graph = grimp.build_graph("flows", "pipeline", "sheap", exclude_type_checking_imports=True, cache_dir=None)
    pairs = [(module, used) for module in graph.modules for used in graph.find_modules_directly_imported_by(module)]
    assert len(pairs) > 500
    assert [pair for pair in sorted(pairs) if graph.chain_exists(importer=pair[1], imported=pair[0])] == []
