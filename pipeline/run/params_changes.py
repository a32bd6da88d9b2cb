"""Settings of one run: params.yaml with some values changed by dotted name, as `dvc exp run -S NAME=VALUE` names them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter

from pipeline.run.settings import PARAMS_FILE, StageError


class _Representer(RoundTripRepresenter):
    """Writes null as the file does, so that a diff shows the change alone."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def params_yaml() -> YAML:
    """Reads and writes params.yaml as it stands: its comments, order and style stay."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def changed_text(text: str, changes: Mapping[str, Any], where: str = "params") -> str:
    """params.yaml's text with values changed.

    Raises StageError naming a setting that does not exist: a new name is a slip, for every setting stands in the file.
    """
    yaml = params_yaml()
    document = yaml.load(text)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        place = document
        for name in parents:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise StageError(f"{where}: {PARAMS_FILE} has no setting '{dotted}'")
        place[last] = _in_one_line(value)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _in_one_line(value: Any) -> Any:
    """Lists of numbers and words as the file writes them: [1, 2]."""
    if not isinstance(value, list) or any(isinstance(item, dict) for item in value):
        return value
    sequence = CommentedSeq([_in_one_line(item) for item in value])
    sequence.fa.set_flow_style()
    return sequence
