"""params.yaml: read in one place, checked against each section's model, and the only place where a setting has a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

PARAMS_FILE = Path("params.yaml")
DVC_FILE = Path("dvc.yaml")
OWN_CORPUS_FILE = Path("local/corpus.yaml")
"""Beside params.yaml: this checkout's own values of section `corpus`, where it has any (local/README.md)."""


class StageParams(BaseModel):
    """Base of every params section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StageError(Exception):
    """A user's mistake or missing input. The message is one line: what is wrong, where, and the remedy."""


Params = TypeVar("Params", bound=StageParams)


def read_params_file(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """All sections of the params file, with this checkout's own corpus in place of the file's.

    Raises StageError when the file is missing or is not a mapping of sections.
    """
    document = _read_mapping(path, "one mapping of stage names to settings")
    own = path.parent / OWN_CORPUS_FILE
    if own.exists():
        document["corpus"] = {**(document.get("corpus") or {}), **_read_mapping(own, "settings of section 'corpus'")}
    return document


def _read_mapping(path: Path, expected: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run from the project's root") from None
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise StageError(f"{path}{line}: not valid YAML") from None
    if not isinstance(document, dict):
        raise StageError(f"{path}: expected {expected}")
    return document


def load_params(
    section: str, params_type: type[Params], path: Path = PARAMS_FILE, changes: Mapping[str, Any] = MappingProxyType({})
) -> Params:
    """The validated settings of one stage, with `changes` of a command line. Raises StageError naming file and field."""
    document = read_params_file(path)
    if section not in document:
        raise StageError(f"{path}: section '{section}' is missing")
    try:
        return params_type.model_validate({**(document[section] or {}), **changes})
    except ValidationError as error:
        raise StageError("; ".join(_problems(error, section, params_type, path, changes))) from None


def _problems(
    error: ValidationError, section: str, params_type: type[BaseModel], path: Path, changes: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong, each with its place: an option of the command line, or a field of the file."""
    in_file = [item for item in error.errors() if not (item["loc"] and item["loc"][0] in changes)]
    for item in error.errors():
        if item not in in_file:
            yield f"--{str(item['loc'][0]).replace('_', '-')} {item['input']}: {item['msg']}"
    for number, item in enumerate(in_file):
        place = f"{path}: " if number == 0 else ""
        field = ".".join([section, *map(str, item["loc"])])
        if item["type"] == "extra_forbidden":
            known = ", ".join(sorted(params_type.model_fields))
            yield f"{place}unknown key '{field}' (known: {known})"
        else:
            yield f"{place}'{field}': {item['msg']}"


def named_paths(params: BaseModel, prefix: str) -> Iterator[str]:
    """Dotted names of the settings that name a file or folder to read, those of inner sections included.

    A setting that is a `Path` names what a stage reads, but for a `cache_dir`.
    """
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            yield from named_paths(value, f"{prefix}.{name}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from named_paths(item, f"{prefix}.{name}[{number}]")
        elif isinstance(value, Path) and name != "cache_dir":
            yield f"{prefix}.{name}"


def require_listed(section: str, params: BaseModel, path: Path = DVC_FILE) -> None:
    """Raises StageError when a stage's settings name a file or folder that dvc.yaml does not list: DVC would miss its changes.

    Outside a project, where there is no dvc.yaml, nothing is asked.
    """
    if not path.exists():
        return
    stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    listed = stages.get(section, {}).get("deps", [])
    missing = [name for name in named_paths(params, section) if f"${{{name}}}" not in listed]
    if missing:
        raise StageError(
            f"{path}: does not list {', '.join(missing)}, so a change in it would be missed; "
            "run: python -m pipeline.run.dvc_file --write"
        )
