"""Small changes to the code, one at a time, and whether a test notices: `make mutants`, outside CI.

mutmut makes the changes and runs the tests that reach each one, in a copy of the tree below work/. It changes the bodies of
functions and methods; what is decorated (numba kernels, properties) and what stands at module level stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import commit

ROOT = Path(__file__).parents[1]
TREE = ROOT / "work" / "mutants"
RESULTS = ROOT / "docs" / "results" / "mutants.json"
PAGE = RESULTS.with_suffix(".md")
REASONS = ROOT / "benchmarks" / "surviving_mutants.yaml"

TESTS_OF = {
    "sheap/geometry/**/*.py": "tests/geometry",
    "sheap/head/*.py": "tests/head",
    "sheap/losses/**/*.py": "tests/losses",
    "sheap/data/**/*.py": "tests/data",
    "sheap/training/**/*.py": "tests/training",
    "sheap/evaluation/**/*.py": "tests/evaluation",
    # Of promotion those that start no other process, which would run the code as it is: test_promote.py does.
    "pipeline/**/promote.py": "tests/pipeline/**/test_promotion_rules.py",
}
"""Modules, and the tests that are to notice a change in them. Those marked slow are left out: [tool.mutmut]."""

KILLED, SURVIVED, UNTESTED = "killed", "survived", "untested"
_BY_EXIT_CODE = {0: SURVIVED, 5: UNTESTED, 33: UNTESTED}
"""Of mutmut; every other code is a failed, hung or crashed run: the change was noticed."""


@dataclass(frozen=True)
class Mutant:
    """A change that no test noticed: `line` reads `mutated` and all is green."""

    function: str
    line: str
    mutated: str
    outcome: str


@dataclass
class Score:
    """What became of one module's mutants; `possible` counts those that the sample left out too."""

    possible: int
    killed: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.killed + len(self.survivors)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="paths or patterns; without any, all that have tests named for them")
    parser.add_argument("--most", type=int, default=40, metavar="N", help="mutants a module, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="only these are to notice, which is quicker")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args(arguments)
    groups = tests_and_modules(given.modules)
    if given.tests:
        groups = {" ".join(given.tests): [*chain.from_iterable(groups.values())]} if groups else {}
    if not groups:
        print(f"no module with tests named for it: {' '.join(given.modules)} (see TESTS_OF)", file=sys.stderr)
        return 1
    for tests, modules in groups.items():
        copy_tree(tests, modules)
        names = {name for module in modules for name in sample(mutant_names(module), given.most, given.seed)}
        run_mutmut("run", "--max-children", str(given.processes), *sorted(names))
        scores = {module: read_score(module, names) for module in modules}
        for module, score in scores.items():
            report(module, score)
        write_results(scores, {"most": given.most, "seed": given.seed, "tests": tests})
    return 0


def tests_and_modules(patterns: Iterable[str]) -> dict[str, list[str]]:
    """Modules that match, by the tests that are to notice: {"tests/losses": ["sheap/losses/ssim.py", ...]}."""
    wanted = {path for pattern in patterns for path in ROOT.glob(pattern)}
    groups: dict[str, list[str]] = {}
    for pattern, tests in TESTS_OF.items():
        [tests_path] = ROOT.glob(tests)
        modules = [path for path in sorted(ROOT.glob(pattern)) if path.stat().st_size and (path in wanted or not wanted)]
        found = [module for path in modules if mutant_names(module := path.relative_to(ROOT).as_posix())]
        if found and (wanted or not patterns):
            groups[tests_path.relative_to(ROOT).as_posix()] = found
    return groups


def mutant_names(module: str) -> list[str]:
    """The names that mutmut gives the mutants of a module."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    prefix = module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    return [f"{prefix}.{name}" for name in mutate_file_contents(module, (ROOT / module).read_text()).mutant_names]


def sample(names: list[str], most: int, seed: int) -> list[str]:
    return names if len(names) <= most else random.Random(seed).sample(names, most)


def copy_tree(tests: str, modules: list[str]) -> None:
    """A fresh copy of the checkout, changes that are not committed included, set up for these modules and tests.

    tests: paths with a space between them.
    """
    shutil.rmtree(TREE, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, TREE / name)
    if (ROOT.parent / "shared").is_dir():
        (TREE / "shared").symlink_to((ROOT.parent / "shared").resolve())
    settings = {
        "only_mutate": modules,
        "pytest_add_cli_args_test_selection": tests.split(),
        "also_copy": sorted(path.name for path in TREE.iterdir() if path.name != "shared"),
    }
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    project = (TREE / "pyproject.toml").read_text()
    (TREE / "pyproject.toml").write_text(project.replace("[tool.mutmut]\n", f"[tool.mutmut]\n{lines}"))


def run_mutmut(*arguments: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)  # the changed copy is to be imported, nothing else
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=TREE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"mutmut ended with {done.returncode}:\n{done.stdout[-4000:]}")


def read_score(module: str, names: set[str]) -> Score:
    """What mutmut wrote down, of the mutants that were to be run."""
    codes: dict[str, int | None] = json.loads((TREE / "mutants" / f"{module}.meta").read_text())["exit_code_by_key"]
    score = Score(possible=len(codes))
    for name, code in sorted(codes.items()):
        if name not in names:
            continue
        if code is None:
            raise RuntimeError(f"{name}: mutmut ended without having run it")
        outcome = _BY_EXIT_CODE.get(code, KILLED)
        if outcome == KILLED:
            score.killed += 1
        else:
            score.survivors.append(Mutant(_function(name), *_change(name, module), outcome))
    return score


def _function(name: str) -> str:
    """`sheap.geometry.cameras.xǁCamerasǁto__mutmut_1` -> `Cameras.to`."""
    return name.rpartition("__mutmut_")[0].rpartition(".")[2].removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")


def _change(name: str, module: str) -> tuple[str, str]:
    """The line as it is, and as the mutant has it."""
    shown = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", name], cwd=TREE, check=True, capture_output=True, text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    ).stdout.splitlines()  # fmt: skip
    old = [line[1:].strip() for line in shown if line.startswith("-") and not line.startswith("---")]
    new = [line[1:].strip() for line in shown if line.startswith("+") and not line.startswith("+++")]
    return " ".join(old), " ".join(new)


def report(module: str, score: Score) -> None:
    print(f"{module}: {score.killed} of {score.tried} mutants noticed")
    for mutant in score.survivors:
        print(f"  {mutant.outcome} in {mutant.function}: {mutant.line}\n    -> {mutant.mutated}")


def write_results(scores: dict[str, Score], settings: dict[str, Any]) -> None:
    """Adds these modules to the results, whose other rows stay, and writes the page anew."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    of_this_run = {"commit": commit(), **settings}
    results |= {module: {**asdict(score), **of_this_run} for module, score in scores.items()}
    results = {module: row for module, row in sorted(results.items()) if (ROOT / module).exists()}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    reasons = yaml.safe_load(REASONS.read_text()) if REASONS.exists() else []
    PAGE.write_text(page(results, reasons))


def page(results: dict[str, Any], reasons: list[dict[str, str]]) -> str:
    """Markdown: a row a module, then every survivor with its reason."""
    lines = [
        "# Mutants", "",
        "Small changes to the code, one at a time: does a test notice? Printed by `make mutants` (one module:",
        "`make mutants MODULE=sheap/losses/ssim.py`), made by mutmut in the bodies of functions and methods; decorated ones",
        "(numba kernels, properties) and module level are not changed. Tests marked slow do not run. A module with more",
        "mutants than the cap is sampled by the seed. Where only some files of a folder's tests were run, others might notice",
        "more. Reasons stand in `benchmarks/surviving_mutants.yaml`.", "",
        "| module | tests | mutants | tried | noticed | survived, with a reason | open | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    known = {(row["module"], row["line"], row["mutated"]): row["reason"] for row in reasons}
    listed: list[str] = []
    for module, row in results.items():
        survivors = row["survivors"]
        answers = [known.get((module, mutant["line"], mutant["mutated"])) for mutant in survivors]
        tried, explained = row["killed"] + len(survivors), sum(answer is not None for answer in answers)
        noticed = f"{row['killed']} ({row['killed'] / tried:.0%})" if tried else "0"
        cells = [module, row["tests"], row["possible"], tried, noticed, explained, len(survivors) - explained, row["commit"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        if survivors:
            listed += ["", f"## {module}", ""]
        for mutant, answer in zip(survivors, answers):
            untested = " (no test reaches it)" if mutant["outcome"] == UNTESTED else ""
            change = f"`{mutant['line']}` -> `{mutant['mutated']}`" if mutant["mutated"] else f"`{mutant['line']}` left out"
            listed.append(f"- {mutant['function']}: {change}{untested}: {answer or '**open**'}")
    return "\n".join([*lines, *listed]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
