"""dvc.yaml is held to what is computed: a missing and a superfluous dependency both fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.run import dvc_file
from pipeline.run.code_dependencies import code_files
from pipeline.run.settings import StageError, load_params, require_listed

ROOT = Path(__file__).parents[3]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def listed_files(stage: str) -> set[str]:
    """The code files that dvc.yaml lists for a stage, folders taken apart."""
    lines = [ROOT / line for line in STAGES[stage]["deps"] if dvc_file.is_code(line)]
    files = [file for line in lines for file in (line.rglob("*") if line.is_dir() else [line])]
    real = [file for file in files if file.is_file() and file.stat().st_size and "__pycache__" not in file.parts]
    return {file.relative_to(ROOT).as_posix() for file in real}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_code_that_decides_its_result_and_no_other(stage: str) -> None:
    computed, listed = {path.as_posix() for path in code_files(f"pipeline.{stage}")}, listed_files(stage)
    remedy = "run: python -m pipeline.run.dvc_file --write"
    assert listed - computed == set(), f"superfluous; {remedy}"
    assert computed - listed == set(), f"missing; {remedy}"


def test_the_file_is_as_the_program_writes_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert dvc_file.main([]) == 0, capsys.readouterr().out


def test_what_is_wrong_is_found_and_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = (ROOT / "dvc.yaml").read_text()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    for wrong in (
        right.replace("      - pipeline/shards.py\n", ""),
        right.replace("      - pipeline/shards.py\n", "      - pipeline/shards.py\n      - sheap/predictor.py\n"),
    ):
        assert wrong != right
        Path("dvc.yaml").write_text(wrong)
        assert dvc_file.main([]) == 1
        assert dvc_file.main(["--write"]) == 0
        assert Path("dvc.yaml").read_text() == right


def test_a_path_that_is_set_is_a_dependency_and_a_stage_insists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    params = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params.replace("footage_dir: null", "footage_dir: /videos"))
    monkeypatch.chdir(tmp_path)
    evaluate = load_params("evaluate", dvc_file.params_type("evaluate"))
    with pytest.raises(StageError, match=r"dvc\.yaml: does not list evaluate\.footage_dir.*dvc_file --write"):
        require_listed("evaluate", evaluate)
    assert dvc_file.main(["--write"]) == 0
    require_listed("evaluate", evaluate)
    assert "${evaluate.footage_dir}" in yaml.safe_load(Path("dvc.yaml").read_text())["stages"]["evaluate"]["deps"]
    (tmp_path / "params.yaml").write_text(params)
    assert dvc_file.main(["--write"]) == 0
    assert Path("dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text(), "DVC cannot depend on null"


def test_outside_a_project_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_listed("shards", load_params("corpus", dvc_file.params_type("corpus"), ROOT / "params.yaml"))
