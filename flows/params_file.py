"""Edits params.yaml as a person would: the values asked for change, comments and layout stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def set_params(path: Path, changes: dict[str, Any]) -> bool:
    """Sets `{"section.key": value}` in a YAML file; returns whether anything changed.

    Raises ValueError naming the file when it cannot be read as YAML or lacks the section.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(path)
    except (OSError, YAMLError) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    changed = False
    for name, value in changes.items():
        section, key = name.split(".")
        if not isinstance(document, dict) or not isinstance(document.get(section), dict):
            raise ValueError(f"{path}: section '{section}' is missing")
        if document[section].get(key) != value:
            document[section][key] = value
            changed = True
    if changed:
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            yaml.dump(document, file)
        os.replace(temporary, path)
    return changed
