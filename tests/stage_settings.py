"""Settings for tests: those of params.yaml, as they have no other place, with the changes that a test needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

from pipeline.ingest import IngestParams
from sheap.video.clip_cutting import CutSettings
from sheap.video.ingestion import IngestSettings
from sheap.video.quality import FrameFilter

PARAMS_FILE = Path(__file__).parents[1] / "params.yaml"

Params = TypeVar("Params", bound=BaseModel)


def stage_params(params_type: type[Params], **changes: Any) -> Params:
    """`ShardsParams` reads section `shards`. A mapping changes a few settings of an inner section."""
    section = params_type.__name__.removesuffix("Params").lower()
    return params_type.model_validate(_merged(yaml.safe_load(PARAMS_FILE.read_text())[section], changes))


def frame_filter(**changes: float) -> FrameFilter:
    """The thresholds of section `ingest`."""
    return stage_params(IngestParams, filter=changes).filter


def cut_settings(**changes: Any) -> CutSettings:
    """How section `ingest` cuts clips."""
    return dataclasses.replace(stage_params(IngestParams).settings().cut, **changes)


def ingest_settings(**changes: Any) -> IngestSettings:
    """How section `ingest` reads videos."""
    return dataclasses.replace(stage_params(IngestParams).settings(), **changes)


def _merged(settings: Any, changes: Any) -> Any:
    if not isinstance(settings, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**settings, **{name: _merged(settings.get(name), value) for name, value in changes.items()}}
