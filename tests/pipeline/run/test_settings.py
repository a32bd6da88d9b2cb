"""params.yaml is the only place where a setting has a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from flows.retrain import RetrainParams
from flows.train_sheap import FlowParams
from pipeline.commands.promote import PromoteParams
from pipeline.run.dvc_file import params_type

ROOT = Path(__file__).parents[3]
SECTIONS = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def model_of(section: str) -> type[BaseModel]:
    """Who reads a section: the stage of its name, or who is no stage."""
    return {"flow": FlowParams, "promote": PromoteParams, "retrain": RetrainParams}.get(section) or params_type(section)


def test_every_stage_has_a_section_and_every_section_a_reader() -> None:
    assert set(SECTIONS) == {*STAGES, "flow", "promote", "retrain"}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_file_names_every_setting_and_the_code_no_default(section: str) -> None:
    model = model_of(section)
    assert [name for name in defaults(model, section)] == [], "a second default"
    assert sorted(unnamed(model, SECTIONS[section], section)) == [], "not in params.yaml"
    model.model_validate(SECTIONS[section])


def defaults(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Dotted names of the fields that have a value in code, those of inner models included."""
    for name, field in model.model_fields.items():
        if not field.is_required():
            yield f"{prefix}.{name}"
        for inner in inner_models(field.annotation):
            yield from defaults(inner, f"{prefix}.{name}")


def unnamed(model: type[BaseModel], section: Any, prefix: str) -> Iterator[str]:
    """Dotted names of the fields that a section of the file does not have."""
    for name, field in model.model_fields.items():
        if name not in section:
            yield f"{prefix}.{name}"
        elif section[name] is not None:
            for inner in inner_models(field.annotation):
                yield from unnamed(inner, section[name], f"{prefix}.{name}")


def inner_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from inner_models(part)
