"""Clips on disk and in training: schema, deterministic shards, verified random access, pairs."""

from sheap.data.augment import AugmentParams
from sheap.data.manifest import Manifest, verify_shards
from sheap.data.order import CursorBatchSampler
from sheap.data.pairs import PairBatch, PairDataset, PairSample, collate
from sheap.data.reader import ClipFrames, ShardReader
from sheap.data.schema import ClipRecord

__all__ = [
    "AugmentParams",
    "ClipFrames",
    "ClipRecord",
    "CursorBatchSampler",
    "Manifest",
    "PairBatch",
    "PairDataset",
    "PairSample",
    "ShardReader",
    "collate",
    "verify_shards",
]
