"""`sheap corpus add`: params.yaml and dvc.yaml grow by one corpus, and by nothing else."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.commands.corpora import add_corpus
from pipeline.corpus import CorpusParams
from pipeline.run.settings import StageError, load_params

PROJECT = Path(__file__).parents[3]
FACTS = {"licence": "CC0-1.0", "origin": "a studio", "consent": "signed forms, folder 12"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(PROJECT / name, root / name)
    for name in ("Interviews 2026", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "Interviews 2026" / "one.mp4").write_bytes(b"x")
    monkeypatch.chdir(root)
    return root


def added_lines(before: str, after: str) -> list[str]:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert [line for line in lines if line.startswith("- ")] in ([], ["-   further: []"])
    return [line[2:].strip() for line in lines if line.startswith("+ ")]


def test_a_corpus_is_appended_and_watched(project: Path, tmp_path: Path) -> None:
    before = {name: Path(name).read_text() for name in ("params.yaml", "dvc.yaml")}
    folder = tmp_path / "Interviews 2026"
    assert add_corpus(folder, None, **FACTS) == "interviews-2026"
    added = added_lines(before["params.yaml"], Path("params.yaml").read_text())
    assert added == [
        "further:", "- name: interviews-2026", f"folder: {folder}", "licence: CC0-1.0", "origin: a studio",
        "consent: signed forms, folder 12", "identities: null",
    ]  # fmt: skip
    assert added_lines(before["dvc.yaml"], Path("dvc.yaml").read_text()) == ["- ${corpus.further[0].folder}"]
    assert load_params("corpus", CorpusParams).further[0].consent == "signed forms, folder 12"

    with pytest.raises(StageError, match="is on the list already"):
        add_corpus(folder, "again", **FACTS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "two.mkv").write_bytes(b"y")
    with pytest.raises(StageError, match=r"'interviews-2026' is another folder's name"):
        add_corpus(tmp_path / "other", "interviews-2026", **FACTS)
    assert add_corpus(tmp_path / "other", None, **FACTS) == "other"
    assert [item["name"] for item in yaml.safe_load(Path("params.yaml").read_text())["corpus"]["further"]] == [
        "interviews-2026", "other",
    ]  # fmt: skip
    assert "- ${corpus.further[1].folder}" in Path("dvc.yaml").read_text()


def test_what_cannot_be_a_corpus_changes_nothing(project: Path, tmp_path: Path) -> None:
    before = Path("params.yaml").read_text()
    for folder, message in ((tmp_path / "empty", "holds no video"), (tmp_path / "nowhere", "no such folder")):
        with pytest.raises(StageError, match=message):
            add_corpus(folder, None, **FACTS)
    with pytest.raises(StageError, match=r"corpus\.further\.0\.name"):
        add_corpus(tmp_path / "Interviews 2026", "Not A Name", **FACTS)
    Path("local").mkdir()
    Path("local/corpus.yaml").write_text("folder: elsewhere\n")
    with pytest.raises(StageError, match="a corpus of its own, which stands for all others"):
        add_corpus(tmp_path / "Interviews 2026", None, **FACTS)
    assert Path("params.yaml").read_text() == before
