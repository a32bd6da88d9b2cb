"""Changed settings leave the rest of params.yaml as it stands."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml

from pipeline.run.params_changes import changed_text
from pipeline.run.settings import StageError

TEXT = (Path(__file__).parents[3] / "params.yaml").read_text()


def test_only_the_changed_lines_change() -> None:
    assert changed_text(TEXT, {}) == TEXT, "comments, nulls, quotes and lists as they are written"
    text = changed_text(TEXT, {"train.training.seed": 12345, "people.sizes": [[64, 96]], "evaluate.footage_dir": "my films"})
    changes = [line for line in difflib.ndiff(TEXT.splitlines(), text.splitlines()) if line.startswith("+ ")]
    assert [line[2:].strip() for line in changes] == ["sizes: [[64, 96]]", "seed: 12345", "footage_dir: my films"]
    assert yaml.safe_load(text)["people"]["sizes"] == [[64, 96]]


@pytest.mark.parametrize("name", ["train.training.sed", "trian", "train.preset.size", "train.training.seed.deep"])
def test_a_setting_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(StageError, match=rf"params: params\.yaml has no setting '{name}'"):
        changed_text(TEXT, {"train.preset": "small", name: 1})
