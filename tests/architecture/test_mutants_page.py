"""The page of `make mutants` says what its results say, and its patterns still find code and tests."""

from __future__ import annotations

import json

import pytest
import yaml

from benchmarks.mutants import PAGE, REASONS, RESULTS, ROOT, TESTS_OF, Mutant, Score, page


@pytest.mark.parametrize(("modules", "tests"), TESTS_OF.items())
def test_every_pattern_finds_modules_and_one_place_of_tests(modules: str, tests: str) -> None:
    assert list(ROOT.glob(modules)) and len(list(ROOT.glob(tests))) == 1


def test_the_page_is_made_from_the_results_and_every_reason_is_for_a_module_that_exists() -> None:
    reasons = yaml.safe_load(REASONS.read_text())
    assert PAGE.read_text() == page(json.loads(RESULTS.read_text()), reasons)
    assert all((ROOT / row["module"]).is_file() and row["reason"] for row in reasons)


def test_the_page_counts_survivors_with_and_without_a_reason() -> None:
    survivors = [Mutant("f", "x = 1", "x = 2", "survived"), Mutant("g", "y = 1", "y = None", "untested")]
    score = Score(possible=9, killed=2, survivors=survivors)
    row = {**vars(score), "survivors": [vars(mutant) for mutant in survivors], "commit": "abc", "tests": "tests/a"}
    text = page({"a.py": row}, [{"module": "a.py", "line": "x = 1", "mutated": "x = 2", "reason": "same result"}])
    assert "| a.py | tests/a | 9 | 4 | 2 (50%) | 1 | 1 | abc |" in text
    assert "- f: `x = 1` -> `x = 2`: same result" in text
    assert "- g: `y = 1` -> `y = None` (no test reaches it): **open**" in text
