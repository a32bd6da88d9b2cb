"""Clips on disk and in training: schema, deterministic shards, verified random access, pairs.

The names below load their module when first used: ingestion needs the schema, not torch and albumentations.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sheap.data.augment import AugmentParams as AugmentParams
    from sheap.data.frames import Frames as Frames
    from sheap.data.frames import Pairs as Pairs
    from sheap.data.manifest import Manifest as Manifest
    from sheap.data.manifest import verify_shards as verify_shards
    from sheap.data.order import CursorBatchSampler as CursorBatchSampler
    from sheap.data.pairs import PairDataset as PairDataset
    from sheap.data.reader import ClipFrames as ClipFrames
    from sheap.data.reader import ShardReader as ShardReader
    from sheap.data.schema import ClipRecord as ClipRecord

_MODULES = {
    "AugmentParams": "augment",
    "ClipFrames": "reader",
    "ClipRecord": "schema",
    "CursorBatchSampler": "order",
    "Frames": "frames",
    "Manifest": "manifest",
    "PairDataset": "pairs",
    "Pairs": "frames",
    "ShardReader": "reader",
    "verify_shards": "manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
